"""Emails and calls at the simulated node: the same as chats, in their own words."""

import pytest

from listener.errors import NotFound, ParameterInvalid
from listener.simulator import Simulator, SimulatorOptions, play
from listener.simulator.media import MEDIA
from listener.simulator.operations import Desk
from listener.simulator.state import ContactCenter


class Floor:
    """An agent with a chat, an email and a call of one id, who writes down what comes on which channel."""

    def __init__(self, **options):
        self.center = ContactCenter(agents=2)
        self.heard = []
        self.desk = Desk(
            center=self.center, publish=self.hear, options=SimulatorOptions(**options), clock_ms=lambda: 1234
        )
        for name in MEDIA:
            self.center.add_chat("X1", ["agent1"], medium=MEDIA[name], user_data={"Skill": None, "Attempts": 2})

    def hear(self, agent, data, channel):
        self.heard.append((channel, data))
        return 1

    def perform(self, key, operation, **parameters):
        return self.desk.perform("agent1", key, {"operationName": operation, **parameters}, base_url="http://gws")


@pytest.fixture
def floor():
    return Floor()


def test_a_chat_an_email_and_a_call_of_one_id_are_three(floor):
    for key, operation in (
        ("X1", "SetDisposition"),
        ("email:X1", "SetDisposition"),
        ("voice:X1", "SetCallDisposition"),
    ):
        floor.perform(key, operation, disposition=key)
    assert [channel for channel, _ in floor.heard] == ["/v2/me/chats", "/v2/me/emails", "/v2/me/calls"]
    values = [
        data[one.container]["userData"]["DispositionCode"]
        for (_, data), one in zip(floor.heard, MEDIA.values(), strict=True)
    ]
    assert values == ["X1", "email:X1", "voice:X1"]
    assert [entry.chat_id for entry in floor.desk.ledger] == values


def test_an_email_is_notified_as_documented(floor):
    floor.perform("email:X1", "SetDisposition", disposition="Callback")
    ((_, data),) = floor.heard
    assert (data["messageType"], data["notificationType"]) == ("EmailStateChangeMessage", "PropertiesUpdated")
    assert data["email"]["userData"] == {"Skill": None, "Attempts": 2, "DispositionCode": "Callback"}
    assert data["email"]["uri"] == "http://gws/api/v2/me/emails/X1"
    assert "participants" not in data["email"]


def test_a_call_is_notified_as_documented(floor):
    floor.perform("voice:X1", "SetCallDisposition", disposition="Callback", dispositionKey="DISP_KEY")
    ((_, data),) = floor.heard
    assert (data["messageType"], data["notificationType"]) == ("CallStateChangeMessage", "AttachedDataChanged")
    call = data["call"]
    assert (call["state"], call["userData"]["DISP_KEY"]) == ("Established", "Callback")
    assert {"callUuid", "connId", "deviceUri", "dnis", "callType"} <= call.keys()
    assert all("phoneNumber" in party and "nickname" not in party for party in call["participants"])


def test_nobody_hears_what_is_set_once_a_call_is_released(floor):
    floor.perform("voice:X1", "Release")
    floor.heard.clear()
    for operation, parameters in (
        ("SetCallDisposition", {"disposition": "Late"}),
        ("UpdateUserData", {"userData": {"DispositionCode": "Late"}}),
        ("DeleteUserData", {"keys": ["DispositionCode"]}),
    ):
        assert floor.perform("voice:X1", operation, **parameters) is None
    assert floor.heard == []
    assert not floor.desk.ledger
    floor.perform("voice:X1", "Complete")
    assert [data["call"]["state"] for _, data in floor.heard] == ["Completed"]
    with pytest.raises(NotFound):
        floor.perform("voice:X1", "SetCallDisposition", disposition="Later")


@pytest.mark.parametrize(
    ("key", "operation", "parameters"),
    [
        ("email:X1", "SetCallDisposition", {"disposition": "A"}),
        ("email:X1", "SendMessage", {"message": "Hello"}),
        ("voice:X1", "SetDisposition", {"disposition": "A"}),
        ("voice:X1", "SetCallDisposition", {"disposition": "A", "callUuid": "another"}),
    ],
)
def test_each_medium_has_its_own_operations(floor, key, operation, parameters):
    with pytest.raises(ParameterInvalid):
        floor.perform(key, operation, **parameters)
    assert floor.heard == []


async def test_a_day_with_all_media_ends_with_nothing_open():
    async with Simulator(SimulatorOptions(agents=2)) as sim:
        before = sim.center.chats
        day = await play(sim, events=60, pace=0, seed=1, media=tuple(MEDIA))
        assert day.changes == 60
        assert day.unheard > 0
        assert sim.center.chats == before
        assert {entry.chat_id.partition(":")[0] for entry in sim.ledger if ":" in entry.chat_id} == {"email", "voice"}
        assert day.came.endswith("chats, emails and calls")
