"""The notifications against the documented samples."""

import json

import pytest

from listener.simulator.media import ChatState, NoticeKind
from listener.simulator.notices import chat_notice, chat_resource, message_log_notice
from listener.simulator.state import FIRST_CHAT, ContactCenter

DOCUMENTED = """{
  "referenceId": 34,
  "chat": {
    "participants": [
      {"nickname": "TestName", "type": "Agent", "participantId": "009052C73228006D"},
      {"nickname": "FirstL", "type": "Customer", "participantId": "009052C73223006B"}
    ],
    "state": "Chatting",
    "id": "0000Na9B26EF003M",
    "capabilities": ["Transfer", "Complete", "Leave", "InFocus", "SendMessage",
                     "SendStartTypingNotification", "SendStopTypingNotification"],
    "userData": {"DispositionCode": "IssueResolved"},
    "uri": "http://localhost:8080/api/v2/chats/0000Na9B26EF003M"
  },
  "notificationType": "PropertiesUpdated",
  "messageType": "ChatStateChangeMessage"
}"""


@pytest.fixture
def chat():
    return ContactCenter(agents=1).add_chat(FIRST_CHAT, ["agent1"])


def resource(chat, state=ChatState.CHATTING):
    return chat_resource(chat, state, base_url="http://localhost:8080", user_data={"DispositionCode": "IssueResolved"})


def test_the_notification_is_the_documented_one_field_for_field_in_its_order(chat):
    notice = chat_notice(NoticeKind.PROPERTIES, resource(chat), reference_id=34, generated_ms=None)
    assert json.dumps(notice) == json.dumps(json.loads(DOCUMENTED))


def test_who_did_not_cause_it_gets_no_reference_id(chat):
    notice = chat_notice(NoticeKind.PROPERTIES, resource(chat), reference_id=None, generated_ms=None)
    assert "referenceId" not in notice


def test_the_server_time_is_in_the_metrics(chat):
    notice = chat_notice(NoticeKind.STATUS, resource(chat), reference_id=1, generated_ms=1700000000000)
    assert notice["metrics"] == {"eventProcessing": {"serverGenerationTimestamp": 1700000000000}}


def test_a_completed_chat_has_state_id_and_uri_left(chat):
    assert list(resource(chat, ChatState.COMPLETED)) == ["state", "id", "uri"]


def test_a_message_log_has_no_chat(chat):
    notice = message_log_notice(chat, "Hello", sender=chat.participants[1], base_url="http://h", generated_ms=None)
    assert (notice["messageType"], notice["notificationType"]) == ("MessageLogUpdated", "NewMessages")
    assert "chat" not in notice
    assert notice["messages"][0]["from"]["type"] == "Customer"
