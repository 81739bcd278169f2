"""Supervisors: what they may ask, what reaches them, and each switch of the site."""

from collections import ChainMap

import pytest

from listener.errors import NotFound, OperationForbidden, ParameterInvalid
from listener.simulator import SimulatorOptions
from listener.simulator.logins import HttpSession
from listener.simulator.operations import Desk
from listener.simulator.state import ContactCenter
from listener.simulator.supervision import Refusal, Supervision, supervisors_of

URL = "http://gws"


class Floor:
    """A desk with supervision; everybody's notifications are written down."""

    def __init__(self, **options):
        self.options = SimulatorOptions(supervisors=2, **options)
        self.center = ContactCenter(agents=3)
        self.heard = []
        self.living = {"login1", "login2"}
        self.supervision = Supervision(
            center=self.center,
            publish=self.hear,
            options=self.options,
            clock_ms=lambda: 1234,
            lives=self.living.__contains__,
            users=supervisors_of(self.options),
        )
        self.desk = Desk(
            center=self.center,
            publish=self.hear,
            options=self.options,
            clock_ms=lambda: 1234,
            supervision=self.supervision,
        )

    def hear(self, user, data, _topic):
        self.heard.append((user, data))
        return 1

    def session(self, number=1, *, ready=True):
        return HttpSession(
            id=f"login{number}", user=f"supervisor{number}", csrf_token="", seen_s=0.0, in_contact_center=ready
        )

    def ask(self, operation, agent="agent1", *, by=1, chat=None, ready=True, mode="AllChats"):
        place = "channels/chat" if chat is None else f"chats/{chat}"
        path = f"/api/v2/users/{self.center.agents[agent].user_id}/{place}"
        return self.supervision.post(path, operation, self.session(by, ready=ready), URL, mode)

    def get(self, path, session=None, **query):
        return self.supervision.get(f"/api/v2/{path}", query, session or self.session(), URL)

    def chat(self, agent="agent1", chat="C1"):
        self.desk.invite(chat, agent, user_data={}, base_url=URL)
        self.do(agent, "Accept", chat)

    def do(self, agent, operation, chat="C1", **parameters):
        self.desk.perform(agent, chat, {"operationName": operation, **parameters}, base_url=URL)

    def told(self, user="supervisor1"):
        return [
            (data["notificationType"], data["chat"]["state"])
            for name, data in self.heard
            if name == user and "chat" in data
        ]


@pytest.fixture
def floor():
    return Floor()


def test_a_supervisor_hears_the_chats_that_a_monitored_agent_accepts_from_then_on(floor):
    floor.chat(chat="before")
    floor.ask("Monitor")
    floor.chat()
    floor.do("agent1", "SetDisposition", disposition="Callback")
    floor.do("agent1", "SetDisposition", "before", disposition="Callback")
    assert floor.told() == [("StatusChange", "Chatting"), ("PropertiesUpdated", "Chatting")]
    assert floor.told("supervisor2") == []
    assert [chat.id for chat, _ in floor.supervision.chats_of("supervisor1")] == ["C1"]


def test_nobody_sees_him(floor):
    floor.ask("Monitor")
    floor.chat()
    assert [one["nickname"] for one in floor.heard[-1][1]["chat"]["participants"]] == ["TestName", "FirstL"]


def test_he_keeps_a_chat_that_its_agent_has_left_until_it_is_completed(floor):
    floor.ask("Monitor")
    floor.chat()
    floor.do("agent1", "Leave")
    floor.do("agent1", "SetDisposition", disposition="Callback")
    floor.do("agent1", "Complete")
    assert floor.told()[1:] == [
        ("ParticipantsUpdated", "Chatting"),
        ("PropertiesUpdated", "Chatting"),
        ("ParticipantsUpdated", "Chatting"),
        ("StatusChange", "Revoked"),
    ]


def test_or_is_dropped_when_the_agent_leaves():
    floor = Floor(supervisor_dropped_on_leave=True)
    floor.ask("Monitor")
    floor.chat()
    floor.do("agent1", "Leave")
    floor.do("agent1", "SetDisposition", disposition="Callback")
    assert floor.told()[1:] == [("ParticipantsUpdated", "Chatting"), ("StatusChange", "Revoked")]


def test_or_hears_nothing_of_properties():
    floor = Floor(supervisor_hears_properties=False)
    floor.ask("Monitor")
    floor.chat()
    floor.do("agent1", "SetDisposition", disposition="Callback")
    assert floor.told() == [("StatusChange", "Chatting")]


@pytest.mark.parametrize("survives", [False, True])
def test_monitoring_ends_with_the_login_in_silence_or_does_not(survives):
    floor = Floor(monitoring_survives_login=survives)
    floor.ask("Monitor")
    floor.chat()
    floor.living.clear()
    floor.do("agent1", "SetDisposition", disposition="Callback")
    floor.chat(chat="C2")
    assert len(floor.told()) == (3 if survives else 1)
    assert floor.supervision.monitored("supervisor1") == (["agent1"] if survives else [])


def test_the_next_chat_alone(floor):
    floor.ask("Monitor", mode="NextChat")
    floor.chat()
    floor.chat(chat="C2")
    assert floor.told() == [("StatusChange", "Chatting")]


def test_monitoring_is_cancelled_and_a_chat_under_way_is_left(floor):
    floor.ask("Monitor")
    floor.chat()
    floor.ask("CancelSupervisorMonitoring")
    floor.do("agent1", "SetDisposition", disposition="Callback")
    floor.supervision.leave("supervisor1", "C1", base_url=URL)
    floor.do("agent1", "SetDisposition", disposition="NoAnswer")
    assert floor.told()[1:] == [("PropertiesUpdated", "Chatting"), ("StatusChange", "LeftChat")]
    with pytest.raises(ParameterInvalid):
        floor.ask("CancelSupervisorMonitoring")
    with pytest.raises(NotFound):
        floor.supervision.leave("supervisor1", "C1", base_url=URL)


def test_a_chat_under_way_is_joined(floor):
    floor.chat()
    assert [chat["id"] for chat in floor.get(f"users/{floor.center.agents['agent1'].user_id}/chats")["chats"]] == ["C1"]
    floor.ask("Intrude", chat="C1")
    assert floor.told() == [("StatusChange", "Invited"), ("StatusChange", "Chatting")]


def test_where_the_site_allows_it():
    floor = Floor(intrude=False)
    floor.chat()
    with pytest.raises(NotFound):
        floor.ask("Intrude", chat="C1")
    with pytest.raises(NotFound):
        floor.get(f"users/{floor.center.agents['agent1'].user_id}/chats")


def test_not_one_that_the_agent_has_left(floor):
    floor.chat()
    floor.do("agent1", "Leave")
    with pytest.raises(ParameterInvalid):
        floor.ask("Intrude", chat="C1")


def test_in_a_conference_he_stays_until_the_last_agent_is_done(floor):
    floor.ask("Monitor")
    floor.chat()
    floor.desk.join("C1", "agent1", "agent2", base_url=URL)
    floor.do("agent1", "Complete")
    floor.do("agent2", "SetDisposition", disposition="Callback")
    floor.do("agent2", "Complete")
    assert [kind for kind, _ in floor.told()].count("PropertiesUpdated") == 1
    assert floor.told()[-1] == ("StatusChange", "Revoked")


def test_he_comes_into_a_conference_with_an_agent_whom_he_monitors(floor):
    floor.ask("Monitor", "agent2")
    floor.chat()
    floor.desk.join("C1", "agent1", "agent2", base_url=URL)
    assert floor.told() == [("StatusChange", "Chatting")]


@pytest.mark.parametrize(("needed", "ready"), [(True, False), (False, False), (True, True)])
def test_a_contact_center_session_may_be_needed(needed, ready):
    floor = Floor(supervisor_needs_session=needed)
    if needed and not ready:
        with pytest.raises(OperationForbidden):
            floor.ask("Monitor", ready=ready)
    else:
        floor.ask("Monitor", ready=ready)
    assert floor.supervision.monitored("supervisor1") == ([] if needed and not ready else ["agent1"])


def test_a_second_time_may_be_refused():
    floor = Floor(monitor_again=False)
    floor.ask("Monitor")
    with pytest.raises(ParameterInvalid):
        floor.ask("Monitor")


def test_an_agent_may_be_refused_so_often(floor):
    floor.supervision.refusals["agent1"] = Refusal(status=404, status_code=6, count=2)
    for _ in range(2):
        with pytest.raises(NotFound):
            floor.ask("Monitor")
    floor.ask("Monitor")
    assert floor.supervision.asked == 3


def test_monitoring_may_end_behind_his_back(floor):
    for agent in ("agent1", "agent2"):
        floor.ask("Monitor", agent)
    assert floor.supervision.forget_watches("supervisor1", "agent1") == 1
    assert floor.supervision.monitored("supervisor1") == ["agent2"]


@pytest.mark.parametrize("path", ["users", "groups", "groups/group-team/users", "users/{}/chats"])
def test_the_role_is_required(floor, path):
    agent = HttpSession(id="a", user="agent1", csrf_token="", seen_s=0.0)
    with pytest.raises(OperationForbidden):
        floor.get(path.format(floor.center.agents["agent1"].user_id), agent)


def test_users_come_in_pages_where_the_site_has_pages():
    whole = ["agent1", "agent2", "agent3", "supervisor1", "supervisor2"]
    assert [one["userName"] for one in Floor().get("users", limit="1", offset="4")["users"]] == whole
    pages = Floor(users_page=2)
    assert [one["userName"] for one in pages.get("users", limit="500", offset="2")["users"]] == whole[2:4]
    assert [one["userName"] for one in pages.get("users")["users"]] == whole[:2]


@pytest.mark.parametrize("inline", [True, False])
def test_groups_come_with_their_users_or_without(inline):
    floor = Floor(groups=(("team", ("agent1", "agent3")),), groups_list_users=inline)
    (group,) = floor.get("groups")["groups"]
    assert ("users" in group) is inline
    assert [one["userName"] for one in floor.get(f"groups/{group['id']}/users")["users"]] == ["agent1", "agent3"]


async def test_over_http(simulate, browse):
    sim = await simulate(supervisors=1, supervisor_needs_session=False)
    browser = await browse(sim, "supervisor1")
    me = await browser.login()
    assert me["user"]["roles"] == ["ROLE_SUPERVISOR"]
    path = f"/api/v2/users/{sim.center.agents['agent1'].user_id}/channels/chat"
    response, _ = await browser.post(path, {"operationName": "Monitor"})
    assert (response.status, sim.supervision.monitored("supervisor1")) == (200, ["agent1"])
    sim.desk.invite("C9", "agent1", user_data={}, base_url=sim.url)
    sim.operate("agent1", "C9", "Accept")
    _, body = await browser.get("/api/v2/me?subresources=chats")
    assert b'"id":"C9"' in body
    response, _ = await browser.post("/api/v2/me/chats/C9", {"operationName": "Leave"})
    assert (response.status, sim.supervision.chats_of("supervisor1")) == (200, [])
    sim.control("add-agent")
    assert isinstance(sim._logins._users, ChainMap)
    assert "agent4" in sim._logins._users
