"""How PostgreSQL goes about the statements of the journal: no table that grows may be walked from end to end."""

import json
from collections.abc import Iterator
from typing import Any

from listener.model.event import (
    EVERY_DEAD_LETTER,
    Change,
    DeadLetter,
    DeadLetterFilter,
    JournalBatch,
    LaneState,
    LastValue,
    SessionState,
)
from listener.model.filter import EVERY_EVENT, EventFilter
from listener.model.replica import Grant, Offer
from listener.testing import sample_event
from support.postgresjournal import PostgresWorld
from support.postgresserver import PostgresServer

GROWING = {"event", "last_value", "dead_letter", "offer"}
BY_NATURE = {
    "FROM {}.dead_letter WHERE TRUE ORDER BY": "brings every letter, and is asked for just that",
    "UPDATE {}.dead_letter SET replaying = true WHERE data IS NOT NULL AND TRUE": "marks every letter",
    "DELETE FROM {}.dead_letter WHERE TRUE": "deletes every letter",
}


def plans(output: str) -> Iterator[tuple[str, Any]]:
    """Each statement that the server has logged with its plan."""
    for entry in output.split("  plan:\n")[1:]:
        lines = []
        for line in entry.split("\n"):
            if not line.startswith("\t"):
                break
            lines.append(line[1:])
        plan = json.loads("\n".join(lines))
        yield plan["Query Text"], plan["Plan"]


def walks(node: dict[str, Any], *, limited: bool = False) -> Iterator[str]:
    """The parts of a plan that walk a whole table which grows."""
    limited = limited or node["Node Type"] == "Limit"
    if node.get("Relation Name") in GROWING and "Scan" in node["Node Type"]:
        by_key = "Index Cond" in node
        if node["Node Type"] == "Seq Scan" or not (by_key or limited):
            yield f"{node['Node Type']} on {node['Relation Name']}"
    for child in node.get("Plans", []):
        yield from walks(child, limited=limited)


def letters(sink: str, numbers: range) -> list[DeadLetter]:
    return [DeadLetter(sink=sink, sequence=n, event_id=f"event-{n}", reason="no", attempts=1, at_ms=n) for n in numbers]


async def fill(database, me):
    values = tuple(LastValue(f"chat-{n}", "k", "v", "agent", None, n) for n in range(500))
    for number in range(1, 5):
        events = tuple(sample_event(n, chat=f"chat-{n % 500}") for n in range(500))
        known = {value.chat_id: number - 1 for value in values}
        await database.append(me, number, JournalBatch(events=events, values=values), known, {})
    for sink in ("crm", "bi"):
        await database.advance(me, sink, 1500, letters(sink, range(1, 301)))


async def ask_everything(database, me, granted):
    state = SessionState(
        account="a", url="u", topic="t", client_id="c", connection_type="long-polling", ack=1, seen_ms=1
    )
    value = LastValue("chat-1", "k", "w", "agent", None, 5)
    batch = JournalBatch(events=(sample_event(1),), values=(value,), sessions=(state,))
    for number in (5, 5):
        await database.append(me, number, batch, {"chat-1": 4}, {"a": 0})
    await database.append(me, 6, batch, {"chat-1": 4}, {"a": 0})
    await database.read(1000, 100)
    for which in (EVERY_EVENT, EventFilter(chat="chat-7"), EventFilter(agent="x"), EventFilter(change=Change.SET)):
        await database.search(which, before=1900, limit=5)
    await database.last_values(["chat-1", "chat-2"])
    await database.sessions(["a"])
    await database.cursors()
    await database.advance(me, "crm", 1600, letters("crm", range(1, 3)))
    for which in (
        EVERY_DEAD_LETTER,
        DeadLetterFilter(sink="crm"),
        DeadLetterFilter(event_ids=("event-3",)),
        DeadLetterFilter(since_ms=290, until_ms=295),
        DeadLetterFilter(after=299),
    ):
        await database.dead_letters(which)
        await database.replay_dead_letters(which)
    for sink in (None, "crm"):
        await database.dead_letter_page(after=100, limit=10, sink=sink)
    await database.replays("crm", 10)
    await database.settle_replays(me, "crm", [1, 2], letters("crm", range(3, 5)))
    await database.lane_states()
    await database.store_lane_state(me, LaneState(sink="crm"))
    await database.stats()
    await database.beat(me, seen=0, reports={"account/1": b"1"}, taken=[1])
    await database.release(me, [granted[0]])
    await database.beat(me, seen=granted[-1].epoch)
    await database.replicas()
    await database.duties()
    await database.order("lane/crm", "resume")
    for which in (DeadLetterFilter(sink="bi"), EVERY_DEAD_LETTER):
        await database.drop_dead_letters(which)
    await database.retain(me, before_ms=2**50, keep_for=["crm"], max_bytes=100_000)


async def test_no_statement_walks_a_table_that_grows():
    explain = {"session_preload_libraries": "auto_explain", "auto_explain.log_min_duration": 0}
    nested = {"auto_explain.log_nested_statements": "on", "auto_explain.log_format": "json"}
    with PostgresServer(**explain, **nested) as server:
        world = PostgresWorld(server)
        database = await world.opened()
        me = (await database.join("one", version="1", lease_s=60.0)).incarnation
        other = (await database.join("other", version="1", lease_s=60.0)).incarnation
        offers = [Offer(duty=f"account/{n}") for n in range(1000)] + [Offer(duty="lane/crm")]
        for one in (other, me):
            await database.offer(one, offers)
        granted = (await database.beat(me, seen=0)).granted
        await fill(database, me)
        begun = len(server.output())
        await ask_everything(database, me, [Grant(grant.duty, grant.epoch) for grant in granted])
        logged = list(plans(server.output()[begun:]))
        await world.end()
    asked = {text for text, _ in logged}
    assert len(asked) > 60, "statements within functions are seen as well"
    known = [text.format(f'"{world.schema}"') for text in BY_NATURE]
    found = {
        (walk, text)
        for text, plan in logged
        for walk in walks(plan)
        if not any(one in " ".join(text.split()) for one in known)
    }
    assert found == set()


def test_a_walk_is_seen():
    scan = {"Node Type": "Seq Scan", "Relation Name": "event"}
    by_index = {"Node Type": "Index Scan", "Relation Name": "event"}
    assert list(walks({"Node Type": "Sort", "Plans": [scan]})) == ["Seq Scan on event"]
    assert list(walks(by_index)) == ["Index Scan on event"]
    assert list(walks({"Node Type": "Limit", "Plans": [by_index]})) == []
    assert list(walks({**by_index, "Index Cond": "(sequence > 1)"})) == []
    assert list(walks({"Node Type": "Seq Scan", "Relation Name": "pulse"})) == []
