"""What was set when, from files in any order, each event once, with what qualifies the answer; and counted."""

import gzip
import json
from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from listener.audit.chain import head_of
from listener.audit.events import epoch_ms
from listener.audit.groups import By, Groups
from listener.audit.notes import checkpoint_text, written
from listener.audit.periods import Calendar
from listener.audit.picking import Wanted
from listener.audit.reading import AuditFile
from listener.audit.report import Known, Report
from listener.audit.rows import GapRow, Row
from listener.audit.signer import load_or_create
from listener.audit.verdict import Proof
from listener.audit.verify import gather, verify
from support.reports import event, linked, missed, report_on, said

DAY = "2026-11-22T"


@pytest.fixture
def write(tmp_path):
    """`write(line, line, name=…)`: a file of these lines."""

    def make(*lines, name="audit.jsonl", pack=bytes):
        path = tmp_path / name
        path.write_bytes(pack(b"".join(lines)))
        return path

    return make


def test_a_row_tells_who_set_what_when(write):
    line = said(
        f"{DAY}09:39:00.123Z", id="e1", change="changed", previous="Callback", agents=("Ann", "Bob"), referenceId=34
    )
    (row,), _ = report_on(write(line))
    assert row == Row(
        time=f"{DAY}09:39:00.123Z",
        chat_id="chat-1",
        agents=("Ann", "Bob"),
        account="agent1",
        key="DispositionCode",
        previous="Callback",
        disposition="IssueResolved",
        change="changed",
        origin="notification",
        proof=Proof.NONE,
        near_gap=False,
        reference_id=34,
        sequence=json.loads(line)["sequence"],
        id="e1",
    )


def test_files_are_read_in_the_order_of_their_first_events_and_each_event_counts_once(write):
    new = write(said(f"{DAY}11:00:00Z", id="c"), said(f"{DAY}12:00:00Z", id="d"))
    old = write(said(f"{DAY}09:00:00Z", id="a"), said(f"{DAY}10:00:00Z", id="b"), name="old.gz", pack=gzip.compress)
    mid = write(said(f"{DAY}10:00:00Z", id="b"), said(f"{DAY}11:00:00Z", id="c"), name="mid")
    empty = write(name="empty")
    rows, report = report_on(new, empty, mid, old, old)
    assert [row.id for row in rows] == ["a", "b", "c", "d"]
    summary = report.summary()
    assert (summary.dispositions, summary.repeated, summary.lines, summary.files) == (4, 4, 8, 5)
    assert (summary.first, summary.last) == (f"{DAY}09:00:00.000Z", f"{DAY}12:00:00.000Z")


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ({"from_ms": epoch_ms(f"{DAY}10:00:00Z")}, ["b", "c"]),
        ({"to_ms": epoch_ms(f"{DAY}10:00:00Z")}, ["a"]),
        ({"chat": "chat-2"}, ["b"]),
        ({"agent": "Bob"}, ["b", "c"]),
        ({"agent": "Customer"}, []),
        ({"account": "agent2"}, ["c"]),
        ({"code": "Call*"}, ["b"]),
        ({"code": "call*"}, []),
        ({"code": ""}, ["c"]),
        ({"key": "Other"}, ["a"]),
        ({"agent": "Bob", "account": "agent1"}, ["b"]),
    ],
)
def test_every_condition_narrows(write, wanted, ids):
    path = write(
        said(f"{DAY}09:00:00Z", id="a", key="Other"),
        said(f"{DAY}10:00:00Z", id="b", chatId="chat-2", agents=("Ann", "Bob"), disposition="Callback"),
        said(f"{DAY}11:00:00Z", id="c", account="agent2", agents=("Bob",), disposition=None, change="cleared"),
    )
    assert [row.id for row in report_on(path, **wanted)[0]] == ids


def test_an_event_without_agents_has_those_of_its_chat_s_event_before_whatever_is_asked_for(write):
    path = write(
        said(f"{DAY}09:00:00Z", id="a", agents=("Ann",)),
        said(f"{DAY}09:30:00Z", id="other", agents=("Cid",), chatId="chat-2"),
        said(f"{DAY}10:00:00Z", id="b", agents=("Bob",), change="unchanged"),
        said(f"{DAY}11:00:00Z", id="c", agents=(), change="changed", account="agent2"),
        said(f"{DAY}12:00:00Z", id="d", agents=(), chatId="chat-3"),
    )
    rows, _ = report_on(path, from_ms=epoch_ms(f"{DAY}10:30:00Z"), account="agent2", agent="Bob")
    assert [(row.id, row.agents) for row in rows] == [("c", ("Bob",))]
    assert [row.agents for row in report_on(path)[0]] == [("Ann",), ("Cid",), ("Bob",), ()]


def test_every_time_is_told_in_the_zone(write):
    path = write(
        said("2026-10-25T00:30:00.001Z", id="a"),
        missed("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
        said("2026-10-25T01:30:00Z", id="b"),
    )
    berlin = ZoneInfo("Europe/Berlin")
    rows, report = report_on(path, zone=berlin, groups=Groups(by=By.CODE, calendar=Calendar(berlin)))
    first, last = "2026-10-25T02:30:00.001+02:00", "2026-10-25T02:30:00.000+01:00"
    assert [row.time for row in rows] == [first, "2026-10-25T02:00:00.000+01:00", last]
    assert (rows[1].from_, rows[1].to) == ("2026-10-25T02:00:00.000+02:00", "2026-10-25T02:00:00.000+01:00")
    assert (report.summary().first, report.summary().last) == (first, last)
    (group,) = report.grouped()
    assert (group.first, group.last) == (first, last), "the clocks were set back between them"


def test_an_account_is_known_from_its_first_event_to_its_last_and_no_longer(write):
    path = write(
        missed(f"{DAY}08:00:00Z", f"{DAY}08:00:10Z", id="gap"),
        said(f"{DAY}09:00:00Z"),
        said(f"{DAY}12:00:00Z", account="agent2"),
        said(f"{DAY}10:00:00Z", change="unchanged"),
        event("test", f"{DAY}23:00:00Z"),
    )
    first, last = f"{DAY}08:00:00.000Z", f"{DAY}10:00:00.000Z"
    agent1 = Known(account="agent1", first=first, last=last, gaps=1, seconds=10.0)
    agent2 = Known(account="agent2", first=f"{DAY}12:00:00.000Z", last=f"{DAY}12:00:00.000Z", gaps=0, seconds=0.0)
    for wanted, accounts, whole in (
        ({}, [agent1, agent2], False),
        ({"account": "agent1"}, [agent1], True),
        ({"account": "agent1", "from_ms": epoch_ms(first), "to_ms": epoch_ms(last)}, [agent1], True),
        ({"account": "agent1", "from_ms": epoch_ms(first) - 1}, [agent1], False),
        ({"account": "agent1", "to_ms": epoch_ms(last) + 1}, [agent1], False),
        ({"account": "agent3"}, [], False),
        ({"from_ms": epoch_ms(f"{DAY}12:00:00.001Z")}, [], False),
        ({"to_ms": epoch_ms(first)}, [], False),
    ):
        coverage = covered(path, **wanted)
        assert (coverage.accounts, coverage.whole) == (accounts, whole), wanted


def covered(path, **wanted):
    with AuditFile(path) as file:
        return Report([file], wanted=Wanted(**wanted), calendar=Calendar(UTC), report=print).coverage()


def test_each_row_has_the_proof_of_its_line_and_what_is_not_proven_extends_no_coverage(tmp_path, write):
    lines, _ = linked(
        [said(f"{DAY}09:00:00Z", id="a"), said(f"{DAY}10:00:00Z", id="b"), said(f"{DAY}11:00:00Z", id="c")]
    )
    old, new = write(*lines[:1], name="audit.jsonl.1"), write(*lines[1:])
    forged = write(said(f"{DAY}12:00:00Z", id="f"), name="audit.jsonl.2")
    keys = load_or_create(tmp_path / "k.key", name="host/audit", public=tmp_path / "k.pub")
    note = keys.signing.sign(checkpoint_text("host/audit", head_of(lines[1][:-1]), f"{DAY}10:00:00.000Z"))
    (tmp_path / "notes").write_text(written([note]))
    files = [old, new, forged]
    verdict = verify(files, gather(files, pubkeys=[str(tmp_path / "k.pub")], checkpoints=[tmp_path / "notes"]))
    rows, report = report_on(*files, verdict=verdict)
    assert {row.id: (row.proof, row.notes) for row in rows} == {
        "a": (Proof.SIGNED, ""),
        "b": (Proof.SIGNED, ""),
        "c": (Proof.CHAINED, "not signed"),
        "f": (Proof.NONE, "not proven"),
    }
    assert (report.summary().unproven, report.coverage().accounts[0].last) == (2, f"{DAY}11:00:00.000Z")


@pytest.fixture
def among_signed(tmp_path, write):
    """`among_signed([line], [line])`: a signed trail of the first lines, and beside it a file of the others."""

    def make(true, false):
        lines, head = linked(true)
        files = [write(*lines), write(*false, name="audit.jsonl.1")]
        keys = load_or_create(tmp_path / "k.key", name="host/audit", public=tmp_path / "k.pub")
        (tmp_path / "notes").write_text(written([keys.signing.sign(checkpoint_text("host/audit", head, f"{DAY}Z"))]))
        return files, gather(files, pubkeys=[str(tmp_path / "k.pub")], checkpoints=[tmp_path / "notes"])

    return make


def test_no_line_that_is_not_signed_says_who_was_in_the_chat_of_a_signed_one(among_signed):
    early, late = (f"{DAY}{hour}:00:00.000Z" for hour in ("09", "10"))
    false = [said(early, id="f", agents=["Eve"]), said(late, id="g", agents=[])]
    files, evidence = among_signed([said(late, id="a", agents=[])], false)
    rows, _ = report_on(*files, verdict=verify(files, evidence))
    assert {row.id: row.agents for row in rows} == {"a": (), "f": ("Eve",), "g": ("Eve",)}
    assert [row.id for row in report_on(*files, verdict=verify(files, evidence), agent="Eve")[0]] == ["f", "g"]


def test_no_gap_is_hidden_by_another_one_under_its_id(among_signed):
    true = missed(f"{DAY}09:00:00Z", f"{DAY}09:05:00Z", id="gap")
    false = [missed(f"{DAY}08:00:00Z", f"{DAY}08:00:01Z", id="gap", account=name) for name in ("agent1", "agent2")]
    files, evidence = among_signed([said(f"{DAY}09:01:00Z", id="a"), true, true], false)
    verdict = verify(files, evidence)
    rows, report = report_on(*files, verdict=verdict)
    assert [row.near_gap for row in rows if isinstance(row, Row)] == [True]
    assert [row.seconds for row in rows if isinstance(row, GapRow)] == [300.0]
    assert [(one.account, one.gaps) for one in report.summary().gaps] == [("agent1", 2), ("agent2", 1)]
    assert report.summary().gaps[0].seconds == 301.0


@pytest.mark.parametrize("later", ["09:00:00.000Z", "08:00:00.000Z"])
def test_the_files_of_a_whole_chain_come_in_its_order_whatever_the_clock_said(later, write):
    lines, _ = linked([said(f"{DAY}09:00:00.000Z", id="a"), said(f"{DAY}{later}", id="b", agents=[])])
    files = [write(*lines[1:]), write(*lines[:1], name="audit.jsonl.1")]
    rows, _ = report_on(*files, verdict=verify(files))
    assert [(row.id, row.agents) for row in rows] == [("a", ("Ann",)), ("b", ("Ann",))]


def test_what_only_repeats_is_left_out_and_counted_unless_it_is_wanted(write):
    path = write(said(id="a"), said(id="b", change="unchanged"))
    rows, report = report_on(path)
    assert ([row.id for row in rows], report.summary().left_out) == (["a"], 1)
    rows, report = report_on(path, unchanged=True)
    assert ([row.id for row in rows], report.summary().left_out) == (["a", "b"], 0)
    assert report.summary().changes == {"set": 1, "unchanged": 1}


def test_gaps_stand_among_the_rows_and_in_the_summary_and_are_known_before_their_line(write):
    path = write(
        said(f"{DAY}09:00:30Z", id="in"),
        said(f"{DAY}09:00:30Z", id="other", account="agent2"),
        said(f"{DAY}09:05:00Z", id="far"),
        missed(f"{DAY}09:00:00Z", f"{DAY}09:01:00Z", id="gap"),
        said(f"{DAY}09:01:30Z", id="near", origin="reconciled"),
        missed(f"{DAY}08:00:00Z", f"{DAY}08:00:05Z", account="agent2"),
    )
    rows, report = report_on(path, from_ms=epoch_ms(f"{DAY}08:30:00Z"))
    assert [(row.id, row.near_gap) for row in rows if isinstance(row, Row)] == [
        ("in", True),
        ("other", False),
        ("far", False),
        ("near", True),
    ]
    (gap,) = [row for row in rows if isinstance(row, GapRow)]
    assert (gap.id, gap.seconds, gap.reason, gap.closed_by) == ("gap", 60.0, "network", "poll")
    summary = report.summary()
    assert [(one.account, one.gaps, one.seconds) for one in summary.gaps] == [("agent1", 1, 60.0)]
    assert (summary.near_gap, summary.reconciled) == (2, 1)
    assert next(row for row in rows if row.id == "near").notes == "not proven, found by re-reading, near a gap"


def test_a_condition_on_chats_leaves_the_gaps_in_and_one_on_the_account_those_of_others_out(write):
    path = write(
        missed(f"{DAY}09:00:00Z", f"{DAY}09:01:00Z"), missed(f"{DAY}09:00:00Z", f"{DAY}09:01:00Z", account="b")
    )
    assert [row.account for row in report_on(path, chat="none")[0]] == ["agent1", "b"]
    rows, report = report_on(path, account="b")
    assert [row.account for row in rows] == [one.account for one in report.summary().gaps] == ["b"]


def test_tests_and_unknown_types_are_counted_apart(write):
    rows, report = report_on(write(event("test"), event("test"), event("later"), said(id="a")))
    summary = report.summary()
    assert ([row.id for row in rows], summary.tests, summary.dispositions) == (["a"], 2, 1)
    assert summary.others == {"com.example.chat.later": 1}


def test_what_cannot_be_read_is_told_with_its_place_and_costs_nothing_around_it(write):
    told = []
    path = write(said(id="a"), b"\0\0\0\n", b"{}\n", b"\n", said(id="b"), said(id="c")[:-40])
    archive = write(
        *(said(f"{DAY}12:00:00Z") for _ in range(99)), name="b.gz", pack=lambda data: gzip.compress(data)[:-30]
    )
    rows, report = report_on(path, archive, told=told)
    assert [row.id for row in rows[:2]] == ["a", "b"]
    paths = [text.removeprefix(f"{path.parent}/").partition(": ")[0] for text in told]
    assert paths[:2] == ["audit.jsonl:2-3", "audit.jsonl:6"]
    assert paths[2].startswith("b.gz:")
    assert "cannot be read further" in told[2]
    assert report.summary().unreadable == 4


def test_the_chart_gets_counts_by_hour_key_and_code(write):
    path = write(*(said(f"{DAY}09:{minute}:00Z") for minute in range(10, 60)), said(f"{DAY}10:00:00Z", disposition="x"))
    _, report = report_on(path)
    nine = epoch_ms(f"{DAY}09:00:00Z") // 1000
    assert report.hours == {(nine, "DispositionCode", "IssueResolved"): 50, (nine + 3600, "DispositionCode", "x"): 1}
