"""Agents, chats, and who sees what."""

import pytest

from listener.errors import NotFound, ParameterInvalid
from listener.simulator.media import ChatState
from listener.simulator.state import FIRST_CHAT, ContactCenter


@pytest.fixture
def center():
    return ContactCenter(agents=3)


def test_the_documented_chat_has_the_documented_participants(center):
    chat = center.add_chat(FIRST_CHAT, ["agent1"])
    assert [(p.nickname, p.type, p.participant_id) for p in chat.participants] == [
        ("TestName", "Agent", "009052C73228006D"),
        ("FirstL", "Customer", "009052C73223006B"),
    ]


def test_a_chat_is_found_by_its_own_agents_only(center):
    center.add_chat("C1", ["agent1", "agent2"])
    assert center.chat_of("agent2", "C1").members == ("agent1", "agent2")
    with pytest.raises(NotFound) as refused:
        center.chat_of("agent3", "C1")
    assert (refused.value.http_status, refused.value.status_code) == (404, 6)


def test_an_id_is_given_once(center):
    center.add_chat("C1", ["agent1"])
    with pytest.raises(ParameterInvalid):
        center.add_chat("C1", ["agent2"])


def test_an_unknown_agent_gets_no_chat(center):
    with pytest.raises(NotFound):
        center.add_chat("C1", ["agent9"])
    assert center.chats == 0


def test_who_leaves_keeps_the_chat_but_is_no_participant(center):
    chat = center.add_chat("C1", ["agent1", "agent2"])
    center.leave(chat, "agent1")
    assert chat.states["agent1"] is ChatState.LEFT
    assert [party.agent for party in chat.participants] == ["agent2", None]


def test_the_last_agent_takes_the_chat_with_him(center):
    chat = center.add_chat("C1", ["agent1", "agent2"])
    center.forget(chat, "agent1")
    assert center.chats_of("agent2") == [chat]
    center.forget(chat, "agent2")
    assert center.chats == 0


def test_fresh_ids_never_repeat_and_look_like_the_documented_one(center):
    ids = {center.fresh_chat_id() for _ in range(5000)}
    assert len(ids) == 5000
    assert FIRST_CHAT not in ids
    assert all(chat_id.startswith("0000Na9B26EF") and chat_id.endswith("M") for chat_id in ids)
    assert len(min(ids, key=len)) == len(FIRST_CHAT)
