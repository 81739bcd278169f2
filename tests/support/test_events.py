import msgspec

from support.events import disposition_event, events_of, gap_event, sequences


def test_the_same_arguments_make_the_same_event() -> None:
    assert disposition_event(3, chat="c") == disposition_event(3, chat="c")


def test_events_go_round_the_chats_in_journal_order() -> None:
    made = events_of(4, chats=2, first=5)
    assert [event.sequence for event in made] == [5, 6, 7, 8]
    assert [event.subject for event in made] == ["chat-1", "chat-0", "chat-1", "chat-0"]


def test_sequences_are_read_from_the_json_of_events_and_gaps() -> None:
    assert sequences([disposition_event(7).to_json(), gap_event(8).to_json()]) == [7, 8]
    assert msgspec.json.decode(gap_event(8).to_json())["data"]["from"]
