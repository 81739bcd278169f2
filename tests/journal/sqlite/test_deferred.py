"""Last values and sessions that stand in the rows of events for a while."""

import random
import shutil
import sqlite3
from contextlib import closing

import pytest
from msgspec.msgpack import encode
from msgspec.structs import replace

from listener.errors import JournalStale
from listener.journal.sqlite import SqliteJournal, deferred, rows, views
from listener.journal.sqlite.store import open_store
from listener.model.event import JournalBatch, LastValue, SessionState
from listener.testing import sample_event

CHATS = [f"chat-{number}" for number in range(6)]
SESSION = SessionState(
    account="a", url="https://gws", topic="/t", client_id="1", connection_type="long-polling", ack=0, seen_ms=1
)


def value(chat, word, at=1):
    return LastValue(chat_id=chat, key="k", value=word, account="a", server_time_ms=None, received_ms=at)


def batch(number, *chats, sessions=(), word=None, new_chats=()):
    """One event, with values of these chats."""
    values = tuple(value(chat, word or f"word-{number}", number) for chat in chats)
    return JournalBatch(events=(sample_event(number),), values=values, sessions=sessions, new_chats=new_chats)


def in_rows(path):
    """What no table holds."""
    with closing(sqlite3.connect(path)) as connection:
        return deferred.read(connection)


def left_by_a_kill(path, folder):
    """The files as a process leaves them that is killed now."""
    folder.mkdir()
    for file in path.parent.glob("journal.db*"):
        if not file.name.endswith((".lock", "-shm")):
            shutil.copy(file, folder)
    return folder / path.name


async def test_a_small_commit_writes_one_page(journal, path):
    await journal.append(batch(1, "chat-0", sessions=(SESSION,)))
    index, written = journal._part.store.handle._index, []
    for number in range(2, 22):
        before = index.frames()
        await journal.append(batch(number, "chat-0", sessions=(replace(SESSION, ack=number),)))
        written.append(index.frames() - before)
    assert sorted(written)[len(written) // 2] == 1
    assert len(in_rows(path)) == 20
    await journal.advance("crm", 21)
    assert in_rows(path) == []
    with closing(sqlite3.connect(path)) as plain:
        assert plain.execute("SELECT value, ack FROM last_value, session").fetchall() == [("word-21", 21)]


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_comes_everybody_reads_the_newest(path, tmp_path, seed):
    chance, journal = random.Random(seed), SqliteJournal(path=path)  # noqa: S311 - a walk
    await journal.open()
    values, sessions = {}, {}
    for number in range(1, 50):
        step = chance.choice(["move"] * 4 + ["many", "anew", "session", "call", "refused", "end", "kill"])
        chats = chance.sample(CHATS, chance.randint(0, 3))
        if step in ("move", "anew", "many"):
            account = chance.choice("ab")
            state = sessions.get(account, replace(SESSION, account=account))
            state = replace(state, ack=number, seen_ms=number, taken=((1, 2, f"{number}"),))
            if step == "anew":
                state = replace(state, client_id=str(number), clean=chance.random() < 0.5)
            chats = [*chats, *(f"{step}-{n}" for n in range(40))] if step == "many" else chats
            await journal.append(batch(number, *chats, sessions=(state,)))
            sessions[account] = state
            values |= dict.fromkeys(chats, f"word-{number}")
        elif step == "session" and "a" in sessions:
            sessions["a"] = replace(sessions["a"], seen_ms=number)
            await journal.append(JournalBatch(sessions=(sessions["a"],)))
        elif step == "call":
            await journal.advance("crm", journal.last_sequence)
        elif step == "refused":
            with pytest.raises(OverflowError):
                await journal.append(batch(number, *chats, sessions=(replace(SESSION, account="b", ack=2**63),)))
        elif step == "end":
            await journal.close()
            await journal.open()
        elif step == "kill":
            left = left_by_a_kill(path, tmp_path / f"left-{number}")
            assert views.sessions(left) == sessions
            await journal.close()
            journal = SqliteJournal(path=left)
            path = left
            await journal.open()
        assert await journal.sessions() == sessions == views.sessions(path)
        assert {one.chat_id: one.value for one in await journal.last_values([*values, "none"])} == values
    await journal.close()
    assert views.verify(path) == []


async def test_a_chat_whose_value_stands_in_a_row_is_not_new(journal, path, tmp_path):
    await journal.append(batch(1, "chat-0"))
    with pytest.raises(JournalStale):
        await journal.append(batch(2, "chat-0", new_chats=("chat-0",)))
    again = SqliteJournal(path=left_by_a_kill(path, tmp_path / "left"))
    await again.open()
    with pytest.raises(JournalStale):
        await again.append(batch(2, "chat-0", new_chats=("chat-0",)))
    await again.close()


async def test_a_start_looks_through_a_bounded_number_of_events(journal, path, monkeypatch):
    monkeypatch.setattr(deferred, "MAX_EVENTS", 20)
    monkeypatch.setattr(deferred, "_MAX_EVENTS_READ", 1000)
    for number in range(1, 30):
        await journal.append(batch(number, "chat-0"))
        assert len(in_rows(path)) <= 20
    plain = JournalBatch(events=tuple(sample_event(number) for number in range(900)))
    for _ in range(3):
        await journal.append(plain)
    with closing(sqlite3.connect(path)) as connection:
        (folded,) = connection.execute("SELECT folded_through FROM meta").fetchone()
    assert journal.last_sequence - folded <= 1000


@pytest.mark.parametrize(
    "content", ["x", b"", encode([[]]), encode([[["c"]], []]), encode([[], [["a", 2**63, 1, None, []]]]), 7]
)
async def test_a_row_that_is_not_what_was_stored_is_damage_and_values_come_from_the_events(journal, path, content):
    event = sample_event(1, chat="c")
    event = replace(event, data=b'{"chatId":"c","key":"k","disposition":"sold"}')
    await journal.append(JournalBatch(events=(event,), values=(value("c", "sold"),)))
    await journal.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE event SET deferred = ?", (content,))
        connection.commit()
    with closing(open_store(path)) as store:
        assert [one.value for one in deferred.select_values(store.read, ["c"])] == ["sold"]
        assert [event.sequence for event in rows.select_events(store.read, 0, 10)] == [1]
    assert list(path.parent.glob("journal.db.damaged-*"))


async def test_what_stands_in_rows_survives_damage_elsewhere(journal, path):
    await journal.append(batch(1, "chat-0", sessions=(SESSION,)))
    await journal.append(batch(2, "chat-0", sessions=(replace(SESSION, ack=7, taken=((1, 2, "x"),)),)))
    await journal.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO damage VALUES (1, 'a', 1, 'x', 1)")
        connection.commit()
    again = SqliteJournal(path=path)
    await again.open()
    assert await again.sessions() == {"a": replace(SESSION, ack=7, taken=((1, 2, "x"),))}
    assert [one.value for one in await again.last_values(["chat-0"])] == ["word-2"]
    assert in_rows(path) == []
    await again.close()
