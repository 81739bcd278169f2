"""Whose chat it is, and which chats a supervisor is in: what its notifications say beside dispositions."""

import json

import pytest

from listener.webservices import team
from listener.webservices.notifications import NotificationDecoder
from listener.webservices.supervisor import Person
from listener.webservices.team import TeamChats, TeamDecoder, TeamSeen

PEOPLE = [
    Person(id="1", user_name="agent1", first_name="Ada", last_name="L"),
    Person(id="2", user_name="agent2", first_name="Bob"),
    Person(id="3", user_name="agent3", first_name="Bob"),
]


@pytest.fixture
def chats():
    made = TeamChats()
    made.know(PEOPLE)
    return made


def note(chat="C1", *agents, kind="StatusChange", state="Chatting", **data):
    parties = [{"nickname": name, "type": "Agent"} for name in agents] + [{"nickname": "F", "type": "Customer"}]
    body = {"id": chat, "state": state, "participants": parties, "userData": data}
    return json.dumps({"messageType": "ChatStateChangeMessage", "notificationType": kind, "chat": body}).encode()


@pytest.mark.parametrize(
    ("agents", "whose"),
    [
        (["Ada"], "agent1"),
        (["Ada L"], "agent1"),
        (["agent2"], "agent2"),
        (["Bob"], None),
        (["Stranger"], None),
        (["Ada", "agent2"], None),
        (["Ada", "Stranger"], "agent1"),
    ],
)
def test_a_chat_is_that_of_the_only_agent_of_the_team_in_it(chats, agents, whose):
    chats.take([note("C1", *agents)])
    assert chats.agent_of("C1") == whose


def test_an_id_that_no_chat_has_is_not_kept(chats):
    """Twenty thousand ids as long as a message may be would be 80 GB."""
    chats.take([note("C" * 257, "Ada")])
    chats.take_read([json.dumps({"id": "C" * 257, "state": "Chatting"}).encode()])
    assert chats.heard() == {}


def test_it_stays_his_after_he_has_left_and_is_anothers_once_that_one_has_come(chats):
    chats.take([note("C1", "Ada"), note("C1")])
    assert chats.agent_of("C1") == "agent1"
    chats.take([note("C1", "agent2")])
    assert chats.agent_of("C1") == "agent2"


def test_it_is_nobodys_once_several_of_the_team_have_left_it(chats):
    chats.take([note("C1", "Ada"), note("C1", "Ada", "agent2"), note("C1", "Ada"), note("C1")])
    assert chats.agent_of("C1") is None


def test_a_chat_that_was_joined_is_known_by_whom_it_was_joined_through(chats):
    chats.joined("C1", "agent3")
    chats.take([note("C1", "Bob")])
    assert chats.agent_of("C1") == "agent3"


def test_each_observation_names_whose_chat_it_is(chats):
    decoder = TeamDecoder(NotificationDecoder(keys=("K",)), chats)
    heard = [note("C1", "Ada"), note("C1", "Ada", kind="PropertiesUpdated", K="a"), note("C2", "Bob", K="b")]
    decoded = decoder.decode(heard, account="s", received_ms=1)
    assert [(one.chat_id, one.agent) for one in decoded.observations] == [("C1", "agent1"), ("C2", None)]
    read = json.dumps({"id": "C3", "state": "Chatting", "participants": [], "userData": {"K": "c"}}).encode()
    chats.joined("C3", "agent2")
    assert [one.agent for one in decoder.decode_read([read], account="s", received_ms=1).observations] == ["agent2"]
    assert chats.heard() == {"C1": "agent1", "C2": None, "C3": "agent2"}


def test_what_is_told_in_a_chat_without_agents_shows_that_supervisors_are_kept(chats):
    chats.take([note("C1", "Ada"), note("C1", kind="ParticipantsUpdated")])
    assert (chats.told, chats.kept) == (False, False)
    chats.take([note("C1", kind="PropertiesUpdated", K="a")])
    assert (chats.told, chats.kept) == (True, True)


def test_revoked_is_counted_once_and_the_chat_is_heard_no_more(chats):
    chats.take([note("C1", "Ada"), note("C1", state="Revoked"), note("C1", state="Revoked")])
    assert (chats.revoked, chats.ended_untold, chats.heard()) == (1, True, {})
    chats.take([note("C1", "Ada")])
    assert list(chats.heard()) == ["C1"]
    chats.lost(["C1", "C2"])
    assert chats.heard() == {}


def test_as_long_as_nothing_was_told_a_value_that_is_read_was_not_told(chats):
    seen = TeamSeen(chats)
    decoder = TeamDecoder(NotificationDecoder(keys=("K",)), chats)
    seen.add(decoder.decode([note("C1", "Ada")], account="s", received_ms=1), 1.0)
    assert "C1" not in seen
    seen.add(decoder.decode([note("C1", "Ada", kind="PropertiesUpdated", K="a")], account="s", received_ms=1), 1.0)
    assert "C1" in seen


def test_spoilt_notifications_and_chats_are_left_out_and_memory_is_bounded(chats, monkeypatch):
    monkeypatch.setattr(team, "MOST_CHATS", 3)
    chats.take([b"{", b"[]", b'{"messageType":3}', b'{"messageType":"ChatStateChangeMessage"}'])
    chats.take([note(f"C{number}", "Ada") for number in range(5)])
    chats.take_read([b"{", b'{"id":""}', b'{"id":"C9","state":"Completed"}'])
    assert list(chats.heard()) == ["C2", "C3", "C4"]
    assert TeamChats.ids_of([b"{", b'{"id":"C1"}']) == {"C1"}
