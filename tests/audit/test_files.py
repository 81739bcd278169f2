import gzip

import pytest

from listener.audit.files import beginning, in_order, last_line, lines_of, of_the_trail
from support.trail import trail, write

LINES, HEAD = trail(5)


def test_lines_come_from_plain_and_compressed_files_alike(tmp_path):
    (tmp_path / "a").write_bytes(b"".join(LINES))
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"".join(LINES)))
    assert list(lines_of(tmp_path / "a")) == list(lines_of(tmp_path / "a.gz")) == LINES
    assert last_line(tmp_path / "a") == last_line(tmp_path / "a.gz") == LINES[-1][:-1]


def test_a_compressed_file_that_is_cut_is_told(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"".join(LINES))[:-20])
    with pytest.raises(OSError, match="cut or damaged"):
        list(lines_of(tmp_path / "a.gz"))


def test_files_are_put_into_the_order_of_their_records_and_those_without_any_come_first(tmp_path):
    one, two, three = write(tmp_path, LINES, files=3)
    (tmp_path / "old").write_bytes(b"{}\n")
    assert in_order([three, one, tmp_path / "old", two]) == [tmp_path / "old", one, two, three]
    assert beginning(tmp_path / "old") == -1


@pytest.mark.parametrize(
    ("content", "last"),
    [
        (b"", b""),
        (b"cut", b""),
        (b"a\n", b"a"),
        (b"a\nb\n", b"b"),
        (b"a\nb\ncut", b"b"),
        (b"a\n" + b"x" * 200_000, b"a"),
    ],
)
def test_the_last_whole_line_is_found_from_the_end(tmp_path, content, last):
    (tmp_path / "a").write_bytes(content)
    assert last_line(tmp_path / "a") == last


def test_a_long_last_line_is_found_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"first\n" + b"y" * 300_000 + b"\n")
    assert last_line(tmp_path / "a") == b"y" * 300_000


def test_what_a_sink_keeps_beside_its_file_is_none_of_the_trail(tmp_path):
    names = ["a.jsonl", "a.jsonl.20261122T093900Z", "a.jsonl.20261122T093901Z.gz"]
    beside = ["a.jsonl.checkpoints", "a.jsonl.key", "a.jsonl.pub"]
    assert of_the_trail(tmp_path / name for name in [*names, *beside]) == [tmp_path / name for name in names]
