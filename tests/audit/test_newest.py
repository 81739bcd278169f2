"""The last event of a trail, from its files alone."""

import gzip
import os

import pytest

from listener.audit.newest import newest_event
from listener.model.event import epoch_ms
from support.events import disposition_event, events_of

CAME_MS = epoch_ms("2026-11-22T09:39:00.123Z")


def written(*sequences):
    return b"".join(disposition_event(sequence).to_json() + b"\n" for sequence in sequences)


def test_it_is_the_one_with_the_highest_sequence_though_a_replay_came_after_it(path):
    path.write_bytes(written(*range(1, 27), 3))
    assert newest_event(path) == (26, CAME_MS)


def test_it_may_stand_in_a_file_that_was_rotated_away(path):
    """The newest of those with an event: by others' names, and packed."""
    path.write_bytes(b"")
    assert newest_event(path) is None
    for age, (name, content) in enumerate(
        [
            ("events.jsonl.1", b""),
            ("events.jsonl-20261124.gz", gzip.compress(written(7, 8))),
            ("events.jsonl.3", written(5)),
        ]
    ):
        path.with_name(name).write_bytes(content)
        os.utime(path.with_name(name), (1000 - age, 1000 - age))
    assert newest_event(path) == (8, CAME_MS)


def test_what_made_the_trail_finds_it(make_trail, append, path):
    trail = make_trail(rotate_bytes=4096)
    append(trail, events_of(40))
    trail.close()
    assert newest_event(path) == (40, CAME_MS)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"not ours\n",
        b'{"sequence":"x"}\n',
        b'{"id":"a","sequence":"0","data":{}}\n',
        *(written(7).replace(b'"7"', b'"1%b"' % (b"0" * zeros)) for zeros in (16, 18, 40, 5000)),
        disposition_event(9).to_json()[:-30],  # without a line end: a crash cut it
    ],
)
def test_what_is_no_event_tells_nothing(path, line):
    path.write_bytes(line)
    assert newest_event(path) is None


def test_an_event_without_times_came_at_the_latest_when_the_file_was_written(path):
    path.write_bytes(b'{"id":"a","sequence":"26","data":{}}\n')
    os.utime(path, (1000, 1000))
    assert newest_event(path) == (26, 1_000_000)


def test_a_gap_came_when_it_ended(path):
    line = b'{"id":"a","time":"2026-11-29T06:00:00Z","sequence":"5","data":{"to":"2026-11-29T05:00:00Z"}}\n'
    path.write_bytes(line)
    assert newest_event(path) == (5, epoch_ms("2026-11-29T05:00:00Z"))


def test_a_file_that_cannot_be_read_tells_nothing(path):
    path.mkdir()
    assert newest_event(path) is None
    assert newest_event(path / "nowhere" / "events.jsonl") is None


@pytest.mark.parametrize(
    "data", [b'"x":' + b"[" * 100_000, b'"receivedAt":"0001-01-01T00:00:00+14:00"', b'"to":"\xff"']
)
def test_where_a_line_does_not_tell_when_it_came_the_file_does(path, data):
    path.write_bytes(b'{"id":"a","time":"2026-11-22T09:39:00.123Z","sequence":"7","data":{%b}}\n' % data)
    os.utime(path, (1000, 1000))
    assert newest_event(path) == (7, 1_000_000)
