"""The demo's last words."""

from collections import Counter
from pathlib import Path

from listener.cli.summary import summarise
from listener.cli.tally import Tally
from listener.simulator import Summary

DAY = Summary(chats=12, conferences=5, set=13, changed=13, cleared=4, repeated=4, silent=15)
HEARD = Counter({"set": 13, "changed": 13, "cleared": 4, "unchanged": 10})
GOOD = Tally(published=40, events=40, missing=0, unexpected=0, duplicates=0, out_of_order=0, gaps=0)


def words(tally=GOOD, counts=HEARD):
    lines = summarise(
        day=DAY,
        played_s=8.0,
        counts=counts,
        tally=tally,
        latency="3 ms median",
        audit=Path("/a folder/d.jsonl"),
        config=Path("/a folder/l.toml"),
    )
    return "\n".join(line.plain for line in lines)


def test_a_good_run_says_so_with_its_figures():
    text = words()
    assert "12 chats, 5 of them with two agents, in 8.0 s" in text
    assert "changed      13 of 13" in text
    assert "unchanged    10 of 10" in text
    assert "5.0 events a second" in text
    assert "once, and in order" in text
    assert "unexpected" not in text


def test_commands_can_be_pasted_whatever_the_folder_is_called():
    assert "  disposition-listener tail '/a folder/d.jsonl'\n" in words()


def test_a_command_that_is_not_in_the_path_is_shown_as_it_was_called(monkeypatch, tmp_path):
    called = tmp_path / "disposition-listener"
    called.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(called), "demo"])
    monkeypatch.setenv("PATH", "/nonexistent")
    assert f"  {called} tail " in words()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "  disposition-listener tail " in words()


def test_a_bad_run_names_each_fault():
    text = words(GOOD._replace(missing=2, unexpected=1, out_of_order=3))
    assert "Not everything is as it should be." in text
    assert all(word in text for word in ("missing       2", "unexpected    1", "misordered    3"))


def test_other_counts_than_those_of_the_play_are_explained():
    assert "two changes in one millisecond" not in words()
    assert "two changes in one millisecond" in words(counts=HEARD + Counter(set=1))
