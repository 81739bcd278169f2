"""Coming into chats under way: what is joined, and what may go on unheard."""

import pytest

from listener.errors import NotFound, ServerFault
from listener.intake.joining import Joining
from listener.webservices.team import TeamChats
from support.virtual import LoopClock, in_virtual_time


class Services:
    """The supervisor is in `present`; agents have chats `under_way` if the server tells, `closed` cannot be joined."""

    def __init__(self, *, present=(), under_way=None, closed=(), broken=False):
        self.present, self.under_way, self.closed, self.broken = present, under_way, closed, broken
        self.joined = []
        self.asked = 0

    async def chats(self):
        if self.broken:
            raise ServerFault("500")
        return [b'{"id":"%s"}' % chat.encode() for chat in self.present]

    async def chats_under_way(self, user_id):
        self.asked += 1
        if self.under_way is None:
            raise NotFound("404")
        return self.under_way.get(user_id, ())

    async def join(self, user_id, chat_id):
        if chat_id in self.closed:
            raise NotFound("404")
        self.joined.append((user_id, chat_id))


def come_in(services, *, heard=(), regained=True, join=True, agents=1):
    chats = TeamChats()
    for chat in heard:
        chats.joined(chat, "agent1")
    result = []

    async def play():
        joining = Joining(account="s", services=services, chats=chats, clock=LoopClock())
        granted = {f"agent{number}": f"u{number}" for number in range(1, agents + 1)}
        result.append(await joining.come_in(granted, regained=regained, join=join))

    in_virtual_time(play)
    return result[0], sorted(chats.heard())


@pytest.mark.parametrize("regained", [True, False])
def test_what_the_server_lists_is_joined(regained):
    services = Services(present=["C1"], under_way={"u1": ["C1", "C2"]})
    assert come_in(services, heard=["C1", "C3"] if regained else [], regained=regained)[0] is False
    assert services.joined == [("u1", "C2")]


def test_one_that_cannot_be_joined_may_go_on_unheard_if_it_could_be_heard_before():
    assert come_in(Services(under_way={"u1": ["C1"]}, closed=["C1"]))[0] is True
    assert come_in(Services(under_way={"u1": ["C1"]}, closed=["C1"]), regained=False)[0] is False


def test_where_the_server_lists_none_those_heard_before_are_tried():
    services = Services(closed=["C2"])
    assert come_in(services, heard=["C1", "C2"], agents=9) == (True, ["C1"])
    assert services.joined == [("u1", "C1")]
    assert services.asked == 4
    assert come_in(Services(), heard=["C1"]) == (True, ["C1"]), "others may have begun since"


def test_nothing_is_certain_where_the_server_fails():
    assert come_in(Services(broken=True))[0] is True
    assert come_in(Services(broken=True), regained=False)[0] is False


def test_nobody_is_joined_where_that_is_not_wanted():
    services = Services(under_way={"u1": ["C1"]})
    assert come_in(services, heard=["C2"], join=False) == (True, [])
    assert (services.joined, services.asked) == ([], 0)
