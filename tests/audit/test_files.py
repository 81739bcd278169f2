"""What belongs to a trail; closed files are packed whole or not at all, and no others are deleted."""

import gzip
import os
from pathlib import Path

import pytest

from listener.audit.chain import Head, head_of
from listener.audit.files import Closed, Paths, beginning, in_order, lines_before, newest_end, of_the_trail
from support.trail import trail, write

NOON_S = 1_795_348_800.0  # 2026-11-22T12:00:00Z
DAY_S = 86_400.0
LINES, _ = trail(30)
FIVE, _ = trail(5)


@pytest.fixture
def make_closed(path):
    def make(*, compress=False, keep_files=None, keep_days=None):
        return Closed(path, compress=compress, keep_files=keep_files, keep_days=keep_days)

    return make


def close(closed: Closed, path: Path, now_s: float, content: bytes = b"x\n" * 5000) -> Path:
    path.write_bytes(content)
    os.utime(path, (now_s, now_s))
    return closed.close(now_s)


def names(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir())


def test_a_closed_file_is_named_by_its_time_and_never_replaces_another(make_closed, path):
    closed = make_closed(compress=True)
    for _ in range(3):
        close(closed, path, NOON_S)
        closed.tidy(NOON_S, lambda: False)
    assert names(path.parent) == [
        "events.jsonl.20261122T120000Z-2.gz",
        "events.jsonl.20261122T120000Z-3.gz",
        "events.jsonl.20261122T120000Z.gz",
    ]
    assert [place.name[-6:] for place in closed.files()] == ["00Z.gz", "0Z-2.gz"[-6:], "0Z-3.gz"[-6:]]


def test_a_compressed_file_has_the_content_the_rights_and_the_time_of_the_plain_one(make_closed, path):
    closed = make_closed(compress=True)
    place = close(closed, path, NOON_S, b"line\n" * 1000)
    place.chmod(0o640)
    closed.tidy(NOON_S, lambda: False)
    (packed,) = path.parent.iterdir()
    assert gzip.decompress(packed.read_bytes()) == b"line\n" * 1000
    assert (packed.stat().st_mode & 0o777, packed.stat().st_mtime) == (0o640, NOON_S)


def test_compressing_that_is_stopped_or_was_killed_costs_nothing(make_closed, path):
    closed = make_closed(compress=True)
    place = close(closed, path, NOON_S)
    asked = iter([False, True])
    closed.tidy(NOON_S, lambda: next(asked))
    assert place.exists()
    place.with_name(place.name + ".gz.part").write_bytes(b"half")
    closed.tidy(NOON_S, lambda: False)
    assert names(path.parent) == ["events.jsonl.20261122T120000Z.gz"]
    place.write_bytes(gzip.decompress(place.with_name(place.name + ".gz").read_bytes()))
    closed.tidy(NOON_S, lambda: False)
    assert names(path.parent) == ["events.jsonl.20261122T120000Z.gz"], "a kill between the two was made good"


def test_the_oldest_go_first_and_nothing_that_is_not_ours(make_closed, path):
    others = ["events.jsonl.1", "events.jsonl.1.gz", "events.jsonl.bak", "events.jsonl-20261122", "events.jsonl.key"]
    others += ["events.jsonl.20261122T1200Z", "xevents.jsonl.20261122T120000Z", "events.jsonl.20261122T120000Z.bak"]
    for name in others:
        path.with_name(name).write_bytes(b"precious\n")
        os.utime(path.with_name(name), (0, 0))
    closed = make_closed(keep_files=2)
    for hour in range(4):
        close(closed, path, NOON_S + 3600 * hour)
    closed.tidy(NOON_S, lambda: False)
    kept = ["events.jsonl.20261122T140000Z", "events.jsonl.20261122T150000Z"]
    assert names(path.parent) == sorted([*others, *kept])
    make_closed(keep_days=2.0).tidy(NOON_S + 2 * DAY_S + 2.5 * 3600, lambda: False)
    assert names(path.parent) == sorted([*others, kept[1]])


def test_a_folder_that_is_gone_is_told_and_ends_nothing(tmp_path):
    Closed(tmp_path / "gone" / "a", compress=True, keep_files=1, keep_days=1.0).tidy(NOON_S, lambda: False)


@pytest.mark.parametrize(
    "names",
    [
        ("events.jsonl.1", "events.jsonl.2"),
        ("events.jsonl.1", "events.jsonl.2.gz"),
        ("events.jsonl-20261122", "events.jsonl-20261121"),
        ("events-20261122.jsonl", "events-20261121.jsonl"),
        ("events.1.jsonl", "events.2.jsonl"),
        ("events.jsonl.20261122T120000Z.gz", "events.jsonl.20261121T120000Z.gz"),
    ],
)
def test_what_was_there_before_is_found_whoever_rotated_it(path, names):
    for age, (name, part) in enumerate(zip(names, (LINES[10:20], LINES[:10]), strict=True)):
        content = b"".join(part)
        place = path.with_name(name)
        place.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        os.utime(place, (NOON_S - age * DAY_S,) * 2)
    path.with_name("events.jsonl.0.gz").write_bytes(b"\x1f\x8bdamaged")
    path.with_name("events.jsonl.bak").write_bytes(b"".join(LINES))
    assert newest_end(path) == head_of(LINES[19][:-1])
    path.write_bytes(b"".join(LINES[20:]))
    with path.open("rb") as file:
        assert sorted(lines_before(path, file.fileno(), 100)) == sorted(LINES[:20])
        assert list(lines_before(path, file.fileno(), 5)) == LINES[15:20]


def test_a_file_of_another_chain_is_not_the_one_before(path):
    other, _ = trail(20, start=Head(5, bytes(32)))
    path.with_name("events.jsonl.1").write_bytes(b"".join(other))
    path.write_bytes(b"".join(LINES[20:]))
    with path.open("rb") as file:
        assert list(lines_before(path, file.fileno(), 100)) == []
    path.write_bytes(b"".join(LINES))
    with path.open("rb") as file:
        assert list(lines_before(path, file.fileno(), 100)) == [], "the first record has nothing before it"


def test_files_are_put_into_the_order_of_their_records_and_those_without_any_come_first(tmp_path):
    one, two, three = write(tmp_path, FIVE, files=3)
    (tmp_path / "old").write_bytes(b"{}\n")
    assert in_order([three, one, tmp_path / "old", two]) == [tmp_path / "old", one, two, three]
    assert beginning(tmp_path / "old") == -1


def test_what_a_sink_keeps_beside_its_file_is_none_of_the_trail(tmp_path):
    names = ["a.jsonl", "a.jsonl.20261122T093900Z", "a.jsonl.20261122T093901Z.gz"]
    beside = ["a.jsonl.checkpoints", "a.jsonl.key", "a.jsonl.pub"]
    assert of_the_trail(tmp_path / name for name in [*names, *beside]) == [tmp_path / name for name in names]


def test_everything_is_beside_the_file_under_its_name():
    paths = Paths(Path("/var/audit.jsonl"))
    assert [place.name for place in (paths.checkpoints, paths.key, paths.public_key)] == [
        "audit.jsonl.checkpoints",
        "audit.jsonl.key",
        "audit.jsonl.pub",
    ]
