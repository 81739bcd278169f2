import asyncio
import json
from contextlib import suppress
from functools import partial

import pytest
from msgspec.structs import replace

from listener.audit.chain import chained, head_of
from listener.audit.verify import gather, verify
from listener.config.settings import Settings
from listener.daemon import lanes as composition
from listener.daemon.lanes import SinkLanes, recall
from listener.errors import ConfigError
from listener.journal.sqlite import SqliteJournal
from listener.journal.sqlite.lock import Known
from listener.model.event import JournalBatch
from listener.runtime.host import THIS_HOST
from listener.runtime.metrics import Metrics
from listener.testing import MemoryJournal, sample_event
from support.events import disposition_event, gap_event
from support.eventually import eventually


def settings(folder, **sinks):
    return Settings.model_validate({"server": {"url": "http://h"}, "sinks": sinks, "base": folder})


def file(name):
    return {"type": "file", "path": name}


@pytest.fixture
async def journal():
    journal = MemoryJournal()
    await journal.open()
    await journal.append(JournalBatch(events=[sample_event(number) for number in (1, 2, 3)]))
    return journal


@pytest.fixture
async def lanes(journal):
    lanes = SinkLanes(journal=journal, metrics=Metrics(), host=THIS_HOST)
    yield lanes
    await lanes.end(list(lanes.running))


def spawn(name, work):
    return asyncio.get_running_loop().create_task(work, name=name)


def lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


async def test_a_lane_comes_to_rest_with_its_cursor_stored_and_a_sink_that_hangs_is_not_waited_for(
    lanes, journal, tmp_path, monkeypatch
):
    monkeypatch.setattr(composition, "_IN_HAND_S", 0.05)
    both = settings(tmp_path, a=file("a"), b={"type": "webhook", "url": "http://127.0.0.1:9"})
    lanes.start(lanes.build(both, both.sinks), spawn)
    await eventually(lambda: lines(tmp_path / "a") == 3)
    await lanes.rest(["a", "b"])
    assert list(lanes.running) == []
    assert (await journal.cursors()).get("a") == 3


async def test_lanes_run_side_by_side_and_end_one_by_one(lanes, journal, tmp_path):
    both = settings(tmp_path, a=file("a"), b=file("b"))
    lanes.start(lanes.build(both, both.sinks), spawn)
    await eventually(lambda: lines(tmp_path / "a") == lines(tmp_path / "b") == 3)
    await lanes.end(["a"])
    assert list(lanes.running) == ["b"]
    await journal.append(JournalBatch(events=[sample_event(4)]))
    await lanes.drained()
    assert (lines(tmp_path / "a"), lines(tmp_path / "b")) == (3, 4)


async def test_a_lane_that_is_exchanged_goes_on_where_the_old_one_stood(lanes, journal, tmp_path):
    one = settings(tmp_path, a=file("a"))
    lanes.start(lanes.build(one, one.sinks), spawn)
    await lanes.drained()
    old = lanes.running["a"]
    await lanes.exchange(one, ["a"], spawn)
    assert lanes.running["a"] is not old
    await journal.append(JournalBatch(events=[sample_event(4)]))
    await lanes.drained()
    assert lines(tmp_path / "a") == 4


async def test_what_cannot_be_built_leaves_the_old_lane_at_work(lanes, journal, tmp_path):
    (tmp_path / "token").write_text("t")
    crm = {"type": "webhook", "url": "http://127.0.0.1:9", "bearer_token_file": "token"}
    one = settings(tmp_path, crm=crm)
    lanes.start(lanes.build(one, one.sinks), spawn)
    assert lanes.files(one) == {"crm": [tmp_path / "token"]}
    old = lanes.running["crm"]
    (tmp_path / "token").unlink()
    with pytest.raises(ConfigError, match="bearer_token_file"):
        await lanes.exchange(one, ["crm"], spawn)
    assert lanes.running["crm"] is old
    assert lanes.files(one) == {}, "what cannot be read now is not looked at now"
    assert lanes.files(settings(tmp_path, other=file("a"))) == {}, "a reload is under way, and nobody goes by it yet"


async def test_a_host_that_refuses_is_fatal_at_the_start_and_waited_for_later(lanes, tmp_path):
    gone = settings(tmp_path, a={"type": "file", "path": "gone/a", "retry_limit_s": 0.2})
    strict = lanes.build(gone, gone.sinks, retry_start_errors=False)
    with suppress(Exception):
        await asyncio.wait_for(strict["a"].run(), 5.0)
    assert strict["a"].status().failures == 0, "it ended at once"
    lanes.start(lanes.build(gone, gone.sinks), spawn)
    await eventually(lambda: lanes.running["a"].status().failures > 1)
    (tmp_path / "gone").mkdir()
    await eventually(lambda: lines(tmp_path / "gone" / "a") == 3)


@pytest.mark.parametrize("sequences", [[1], [1, 2, 3], [1, 3], [3, 7], [2, 9, 12], [], [50]])
async def test_the_journal_is_asked_for_no_event_that_was_not_wanted(journal, sequences):
    await journal.append(JournalBatch(events=[sample_event(number) for number in range(4, 13)]))
    found = await recall(journal, lambda events: events, sequences)
    assert [event.sequence for event in found.events] == [number for number in sequences if number <= 12]
    assert found.last == 12


async def test_a_long_row_of_events_is_read_in_pieces(journal):
    await journal.append(JournalBatch(events=[sample_event(number) for number in range(4, 2503)]))
    found = await recall(journal, lambda events: events[::2], [*range(1, 2502)])
    assert [event.sequence for event in found.events] == [*range(1, 2502, 2)], "as the sink gets them"


async def test_what_a_journal_left_out_because_a_file_showed_more_was_not_in_it(tmp_path):
    """It goes on above what a line in the file says, whoever wrote that; its loss is pending, and then on record."""
    journal = SqliteJournal(path=tmp_path / "journal.db")
    await journal.open()
    await journal.append(JournalBatch(events=[sample_event(number) for number in (1, 2, 3)]))
    await journal.close()
    journal = SqliteJournal(path=tmp_path / "journal.db", known=lambda: Known(6, 1_795_340_340_000))
    await journal.open()
    try:
        asked = partial(recall, journal, lambda events: events)
        assert journal.last_sequence > 6
        assert (await asked([3, 6])).last == 3
        gap = gap_event(1)
        data = gap.data.replace(b'"network"', b'"journal_lost"')
        await journal.append(JournalBatch(events=[replace(gap, data=data), sample_event(8)]))
        await journal.settle_damages(await journal.pending_damages())
        assert (await asked([3, 6])).last == 3
        assert (await asked([3])).last == (await asked([6])).last == journal.last_sequence
    finally:
        await journal.close()


async def test_what_was_written_into_a_file_while_no_lane_ran_is_moved_aside_and_counted(journal, tmp_path):
    metrics = Metrics()
    lanes = SinkLanes(journal=journal, metrics=metrics, host=THIS_HOST)
    one = settings(tmp_path, a=file("a"), b=file("b"))
    lanes.start(lanes.build(one, one.sinks), spawn)
    await lanes.drained()
    await lanes.end(["a", "b"])
    last = (tmp_path / "a").read_bytes().splitlines()[-1]
    event = disposition_event(4, value="Forged")
    with (tmp_path / "a").open("ab") as trail:
        trail.write(chained(event.to_json(), len(event.data), head_of(last))[0] + b"\n")
    await journal.append(JournalBatch(events=[sample_event(4)]))
    lanes.start(lanes.build(one, one.sinks), spawn)
    await lanes.drained()
    await lanes.end(["a", "b"])
    assert len(list(tmp_path.glob("a.quarantined-*"))) == 1
    told = [json.loads(line)["sequence"] for line in (tmp_path / "a").read_bytes().splitlines()]
    assert told == ["1", "2", "3", "4", "0"], "the true event took the place of the false one"
    assert (tmp_path / "a").read_bytes().count(b"Forged") == 0
    text = metrics.exposition().decode()
    assert 'sink_quarantined_total{sink="a"} 1.0' in text
    assert 'sink_quarantined_total{sink="b"} 0.0' in text
    verdict = verify([tmp_path / "a"], gather([tmp_path / "a"], pubkeys=[str(tmp_path / "a.pub")]))
    assert verdict.is_proven()
