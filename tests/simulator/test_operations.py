"""The chat operations: what they change, who is told, what is refused."""

import pytest

from listener.errors import NotFound, ParameterInvalid, ParameterMissing
from listener.simulator import SimulatorOptions
from listener.simulator.media import ChatState
from listener.simulator.operations import Desk
from listener.simulator.state import ContactCenter


class Floor:
    """A desk whose agents write down what they hear; `deaf` have no session."""

    def __init__(self, **options):
        self.center = ContactCenter(agents=3)
        self.heard = []
        self.deaf = set()
        self.desk = Desk(
            center=self.center, publish=self.hear, options=SimulatorOptions(**options), clock_ms=lambda: 1234
        )
        self.chat = self.center.add_chat("C1", ["agent1", "agent2"])

    def hear(self, agent, data, channel):
        if agent in self.deaf:
            return 0
        self.heard.append((agent, data))
        return 1

    def perform(self, operation, agent="agent1", chat="C1", **parameters):
        return self.desk.perform(agent, chat, {"operationName": operation, **parameters}, base_url="http://gws")

    def kinds(self, agent):
        return [data["notificationType"] for name, data in self.heard if name == agent]

    def user_data(self):
        return self.heard[-1][1]["chat"]["userData"]


@pytest.fixture
def floor():
    return Floor()


def test_every_agent_in_the_chat_hears_and_the_causing_one_gets_the_reference_id(floor):
    floor.perform("SetDisposition", disposition="Callback")
    assert [(agent, data.get("referenceId")) for agent, data in floor.heard] == [("agent1", 34), ("agent2", None)]
    assert all(data["chat"]["userData"] == {"DispositionCode": "Callback"} for _, data in floor.heard)
    assert all(data["chat"]["uri"] == "http://gws/api/v2/chats/C1" for _, data in floor.heard)


def test_reference_ids_rise_by_one(floor):
    first = floor.perform("SetDisposition", disposition="Callback")
    second = floor.perform("SetDisposition", disposition="NoAnswer")
    assert second.reference_id == first.reference_id + 1


def test_without_a_key_the_configured_one_is_written():
    floor = Floor(disposition_key="DISP_KEY")
    assert floor.perform("SetDisposition", disposition="Callback").key == "DISP_KEY"
    assert floor.chat.user_data == {"DISP_KEY": "Callback"}


@pytest.mark.parametrize(
    ("full", "after_set", "after_attach"),
    [
        (None, {"DispositionCode": "Callback"}, {"Topic": "Billing", "DispositionCode": "Callback", "Priority": 1}),
        (
            True,
            {"Topic": "Billing", "DispositionCode": "Callback"},
            {"Topic": "Billing", "DispositionCode": "Callback", "Priority": 1},
        ),
        (False, {"DispositionCode": "Callback"}, {"Priority": 1}),
    ],
)
def test_user_data_is_whole_or_only_what_changed(full, after_set, after_attach):
    floor = Floor(full_user_data=full)
    floor.perform("AttachUserData", userData={"Topic": "Billing"})
    floor.perform("SetDisposition", disposition="Callback")
    assert floor.user_data() == after_set
    floor.perform("AttachUserData", userData={"Priority": 1})
    assert floor.user_data() == after_attach


def test_a_deleted_disposition_is_absent_and_an_emptied_one_is_there(floor):
    floor.perform("SetDisposition", disposition="Callback")
    assert floor.perform("UpdateUserData", userData={"DispositionCode": ""}).value == ""
    assert floor.user_data() == {"DispositionCode": ""}
    assert floor.perform("DeleteUserData", keys=["DispositionCode", "NeverThere"]).key is None
    assert floor.user_data() == {}


def test_the_ledger_tells_who_was_in_the_chat_and_who_could_hear(floor):
    floor.deaf = {"agent2"}
    floor.perform("SetDisposition", disposition="Callback")
    floor.perform("AttachUserData", userData={"Topic": "Billing"})
    first, second = floor.desk.ledger
    assert (first.chat_id, first.operation, first.key, first.value) == (
        "C1",
        "SetDisposition",
        "DispositionCode",
        "Callback",
    )
    assert (first.agents, first.heard_by) == (("agent1", "agent2"), ("agent1",))
    assert (second.operation, second.key, second.value) == ("AttachUserData", "DispositionCode", "Callback")


def test_the_ledger_has_a_limit():
    floor = Floor(ledger_limit=2)
    for code in ("A", "B", "C"):
        floor.perform("SetDisposition", disposition=code)
    assert [entry.value for entry in floor.desk.ledger] == ["B", "C"]


def test_an_invited_agent_accepts_leaves_and_completes(floor):
    floor.desk.invite("C2", "agent3", user_data={"Topic": "Billing"}, base_url="http://gws")
    for operation in ("Accept", "Leave", "Complete"):
        floor.perform(operation, agent="agent3", chat="C2")
    states = [data["chat"]["state"] for agent, data in floor.heard if agent == "agent3"]
    assert states == ["Invited", "Chatting", "LeftChat", "Completed"]
    assert floor.kinds("agent3") == ["StatusChange"] * 4
    with pytest.raises(NotFound):
        floor.perform("SetDisposition", agent="agent3", chat="C2", disposition="Late")


def test_a_rejected_chat_is_revoked_and_gone(floor):
    floor.desk.invite("C2", "agent3", user_data={}, base_url="http://gws")
    floor.perform("Reject", agent="agent3", chat="C2")
    assert floor.heard[-1][1]["chat"]["state"] == "Revoked"
    assert floor.center.chats_of("agent3") == []


def test_a_disposition_can_be_set_after_leaving(floor):
    floor.perform("Leave")
    floor.perform("SetDisposition", disposition="Callback")
    states = {agent: data["chat"]["state"] for agent, data in floor.heard[-2:]}
    assert states == {"agent1": "LeftChat", "agent2": "Chatting"}


def test_who_stays_hears_that_the_other_left(floor):
    floor.perform("Complete")
    assert floor.kinds("agent2") == ["ParticipantsUpdated"]
    assert [party["type"] for party in floor.heard[-1][1]["chat"]["participants"]] == ["Agent", "Customer"]


def test_messages_come_as_a_message_log(floor):
    floor.desk.write("C1", "agent1", "Hello", base_url="http://gws")
    floor.perform("SendMessage", message="Good morning")
    assert floor.kinds("agent2") == ["NewMessages", "NewMessages"]
    assert [data["messages"][0]["index"] for agent, data in floor.heard if agent == "agent2"] == [1, 2]


@pytest.mark.parametrize(
    ("body", "error", "status_code"),
    [
        ({}, ParameterMissing, 1),
        ({"operationName": 7}, ParameterInvalid, 2),
        ({"operationName": "Sing"}, ParameterInvalid, 2),
        ({"operationName": "SetDisposition"}, ParameterMissing, 1),
        ({"operationName": "SetDisposition", "disposition": 5}, ParameterInvalid, 2),
        ({"operationName": "SetDisposition", "disposition": "A", "dispositionKey": None}, ParameterInvalid, 2),
        ({"operationName": "AttachUserData"}, ParameterMissing, 1),
        ({"operationName": "UpdateUserData", "userData": []}, ParameterInvalid, 2),
        ({"operationName": "DeleteUserData", "keys": "Topic"}, ParameterInvalid, 2),
        ({"operationName": "Accept"}, ParameterInvalid, 2),
    ],
)
def test_a_refused_operation_changes_and_tells_nothing(floor, body, error, status_code):
    with pytest.raises(error) as refused:
        floor.desk.perform("agent1", "C1", body, base_url="http://gws")
    assert (refused.value.http_status, refused.value.status_code) == (400, status_code)
    assert not floor.heard
    assert floor.chat.user_data == {}
    assert floor.chat.states == {"agent1": ChatState.CHATTING, "agent2": ChatState.CHATTING}
