"""Commands on a journal that replicas share say what they say of a file."""

import json
from importlib.metadata import PackageNotFoundError

import msgspec
import pytest

from listener.model.event import DeadLetter, DeadLetterFilter, JournalBatch, LaneState, LaneStatus
from listener.model.replica import Offer
from listener.sinks import registry
from support.events import disposition_event, gap_event
from support.sharing import Sharing

LANE = LaneStatus(sink="crm", kind="webhook", cursor=2, lag=3, delivered=2, failures=1, parked="401", last_error="401")


@pytest.fixture
def sharing(monkeypatch):
    """Five events of two chats, a dead letter of `crm` for the second; no replica."""
    sharing = Sharing(monkeypatch)

    async def fill(database):
        joined = await database.join("node-a", version="1", lease_s=60.0)
        events = [disposition_event(number, chat=f"chat-{number % 2}") for number in range(1, 5)]
        await database.append(joined.incarnation, 1, JournalBatch(events=(*events, gap_event(5))), {}, {})
        letter = DeadLetter(sink="crm", sequence=2, event_id="event-2", reason="422", attempts=3, at_ms=7, answer="no")
        await database.advance(joined.incarnation, "crm", 2, [letter])
        await database.advance(joined.incarnation, "audit", 5, [])
        await database.store_lane_state(None, LaneState(sink="crm", parked="401", parked_ms=1_795_305_600_000))
        await database.leave(joined.incarnation)

    sharing.run(fill)
    return sharing


@pytest.fixture
def owned(sharing):
    """A replica `node-a` has both lanes, and tells of `crm`."""

    async def own(database):
        joined = await database.join("node-a", version="1", lease_s=60.0)
        await database.offer(joined.incarnation, [Offer(duty="lane/crm"), Offer(duty="lane/audit", only="node-a")])
        await database.beat(joined.incarnation, seen=0)
        await database.beat(joined.incarnation, seen=9, reports={"lane/crm": msgspec.json.encode(LANE)})
        return joined.incarnation

    sharing.me = sharing.run(own)
    return sharing


def said(invoke, config, *words, status=0):
    result = invoke(*words, "--config", config)
    assert (result.exit_code, result.stderr) == (status, "")
    return result.stdout


def test_stats_are_those_of_the_database(invoke, shared_config, sharing):
    text = said(invoke, shared_config, "journal", "stats")
    assert "events        5, 1 to 5\n" in text
    assert "sink crm      at 2, 3 to go, 1 dead\n" in text
    assert "parked since 2026-11-22T00:00:00.000Z: 401" in text
    found = json.loads(said(invoke, shared_config, "journal", "stats", "--json"))
    assert (found["events"], found["lastSequence"], found["damages"]) == (5, 5, [])


@pytest.mark.parametrize(
    ("words", "sequences"),
    [
        ((), [1, 2, 3, 4, 5]),
        (("-n", "2"), [4, 5]),
        (("--after", "1", "-n", "2"), [2, 3]),
        (("--chat", "chat-1"), [1, 3]),
        (("--chat", "chat-1", "-n", "1"), [3]),
        (("--chat", "chat-0", "--after", "2"), [4]),
    ],
)
def test_events_are_shown_as_they_are_asked_for(invoke, shared_config, sharing, words, sequences):
    lines = said(invoke, shared_config, "journal", "show", "--json", *words).splitlines()
    assert [int(json.loads(line)["sequence"]) for line in lines] == sequences


def test_every_event_is_exported(invoke, shared_config, sharing, tmp_path, monkeypatch):
    monkeypatch.setattr("listener.cli.shared._PAGE", 2)
    said(invoke, shared_config, "journal", "export", "--output", tmp_path / "all.jsonl")
    lines = (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == ["1", "2", "3", "4", "5"]


def test_a_sound_journal_is_verified(invoke, shared_config, sharing):
    assert said(invoke, shared_config, "journal", "verify") == "ok: 5 events, last sequence 5\n"


def test_what_is_wrong_is_named(invoke, shared_config, sharing):
    events = sharing.memory.store._events
    events[0] = msgspec.structs.replace(events[0], data=b"no JSON")
    sharing.memory.store.cursors["crm"] = 9
    result = invoke("journal", "verify", "--config", shared_config)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0].startswith("event 1: data is not a JSON object")
    assert result.stdout.splitlines()[1:] == ["cursor of sink crm: 9 is outside 0 to 5"]
    assert "2 faults" in result.stderr


def test_dead_letters_are_listed_and_shown(invoke, shared_config, sharing):
    text = said(invoke, shared_config, "dead-letters", "list", "--each")
    assert text.splitlines()[1].split()[1:] == ["crm", "2", "event-2", "chat-0", "3", "422"]
    assert "sink crm has been parked since" in text
    grouped = said(invoke, shared_config, "dead-letters", "list")
    assert grouped.splitlines()[1].split()[:2] == ["crm", "1"]
    (line,) = said(invoke, shared_config, "dead-letters", "list", "--json").splitlines()
    assert json.loads(line)["answer"] == "no"
    shown = said(invoke, shared_config, "dead-letters", "show", "event-2")
    assert "reason    422" in shown
    assert '"id": "event-2"' in shown


def letters(sharing):
    return sharing.run(lambda database: database.dead_letters(DeadLetterFilter()))


def test_letters_are_marked_for_whoever_will_have_their_lane(invoke, shared_config, sharing):
    text = said(invoke, shared_config, "dead-letters", "replay", "--all")
    assert text == "1 dead letter to be replayed: no daemon is running, the next one delivers them\n"
    assert [letter.replaying for letter in letters(sharing)] == [True]


def test_the_owner_of_a_lane_is_told_to_replay(invoke, shared_config, owned):
    assert said(invoke, shared_config, "dead-letters", "replay", "--all", "--no-wait") == (
        "1 dead letter to be replayed\n"
    )
    beaten = owned.run(lambda database: database.beat(owned.me, seen=9))
    assert [(order.duty, order.what) for order in beaten.orders] == [("lane/crm", "replay")]


def test_waiting_ends_where_the_lane_is_parked(invoke, shared_config, owned):
    result = invoke("dead-letters", "replay", "--all", "--config", shared_config)
    assert result.exit_code == 1
    assert "sink crm is parked: 401; `sinks resume crm` resumes it" in result.stderr


def test_letters_are_dropped(invoke, shared_config, sharing):
    assert said(invoke, shared_config, "dead-letters", "drop", "event-2", "--yes") == "1 dead letter dropped\n"
    assert letters(sharing) == []


def test_sinks_are_listed_as_their_owners_tell(invoke, shared_config, owned):
    heading, *rows = [line.split(maxsplit=6) for line in said(invoke, shared_config, "sinks", "list").splitlines()]
    assert heading == ["sink", "kind", "at", "to", "go", "dead", "replica  state"]
    assert rows == [
        ["audit", "file", "5", "0", "0", "node-a", "-"],
        ["crm", "webhook", "2", "3", "1", "node-a", "parked since 2026-11-22T00:00:00.000Z: 401"],
        [],
        ["what", "helps:"],
        ["disposition-listener", "sinks", "resume", "crm"],
    ]
    (line,) = said(invoke, shared_config, "sinks", "list", "--json").splitlines()
    assert (json.loads(line)["sink"], json.loads(line)["replica"]) == ("crm", "node-a")


def test_without_replicas_sinks_are_listed_as_they_were_left(invoke, shared_config, sharing):
    text = said(invoke, shared_config, "sinks", "list")
    assert "parked since 2026-11-22T00:00:00.000Z: 401" in text
    assert [line.split()[5] for line in text.splitlines()[1:3]] == ["-", "-"]
    assert text.splitlines()[-1].split() == ["disposition-listener", "sinks", "resume", "crm"]


@pytest.mark.parametrize("words", [("crm",), ("--all",)])
def test_a_parked_sink_is_resumed_by_its_owner(invoke, shared_config, owned, words):
    assert said(invoke, shared_config, "sinks", "resume", *words) == "crm resumed\n"
    beaten = owned.run(lambda database: database.beat(owned.me, seen=9))
    assert [(order.duty, order.what) for order in beaten.orders] == [("lane/crm", "resume")]


def test_a_sink_that_fails_is_tried_at_once_by_its_owner(invoke, shared_config, owned):
    failing = LaneStatus(
        sink="audit", kind="file", cursor=2, lag=3, delivered=0, failures=1, parked=None, last_error="x", failing_s=0.0
    )
    report = {"lane/audit": msgspec.json.encode(failing)}
    owned.run(lambda database: database.beat(owned.me, seen=9, reports=report))
    assert said(invoke, shared_config, "sinks", "resume", "audit") == "audit tries again at once\n"
    beaten = owned.run(lambda database: database.beat(owned.me, seen=9))
    assert [(order.duty, order.what) for order in beaten.orders] == [("lane/audit", "resume")]


def test_without_an_owner_it_resumes_when_there_is_one(invoke, shared_config, sharing):
    assert said(invoke, shared_config, "sinks", "resume", "crm") == "crm will resume when the daemon runs\n"
    assert sharing.run(lambda database: database.lane_states())["crm"].parked is None
    assert said(invoke, shared_config, "sinks", "resume", "crm") == "crm was not parked\n"


def test_a_sink_that_nobody_knows_is_named(invoke, shared_config, sharing):
    result = invoke("sinks", "resume", "crn", "--config", shared_config)
    assert (result.exit_code, result.stderr) == (1, "error: this journal knows no sink 'crn' (known: audit, crm)\n")


@pytest.mark.parametrize(
    "words", [("sinks", "list"), ("journal", "stats"), ("status",), ("replicas", "list")], ids=" ".join
)
def test_without_the_library_what_to_install_is_named_as_check_does(invoke, shared_config, monkeypatch, words):
    def not_there(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(registry, "distribution", not_there)
    result = invoke(*words, "--config", shared_config)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "error: journal.url: needs a package that is not installed; run pip install 'asyncpg"
    )


def test_a_database_that_is_away_is_named(invoke, shared_config):
    result = invoke("journal", "stats", "--config", shared_config)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: postgresql://127.0.0.1:9/dispositions, schema disposition_listener: ")
