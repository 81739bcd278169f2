import json

from listener.model.event import Kind
from listener.model.testevent import make_test_event


def test_a_test_event_says_of_itself_that_it_is_one():
    event = make_test_event(sink="crm", type_prefix="com.example", source="http://h/chats", now_ms=0, mark="a1")
    written = json.loads(event.to_json())
    assert event.kind is Kind.TEST
    assert written["type"] == "com.example.chat.test"
    assert written["id"] == "test-a1"
    assert written["sequence"] == "0"
    assert written["data"] == {
        "message": "This is a test: no chat has changed.",
        "sink": "crm",
        "sentAt": "1970-01-01T00:00:00.000Z",
    }
