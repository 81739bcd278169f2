"""Every section goes through all that it does, on amounts that say nothing about speed."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.__main__ import BEGIN, END, SECTIONS
from benchmarks.measuring import Scale

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)  # they wait for a disk that others may be using
OWN_SUITE = {"sinks"}  # it runs the contract suite, which runs anyway
DAEMONS = {"rivals", "variants", "sessions", "replicas", "many", "latency"}  # each starts many
without_rivals = pytest.mark.skipif(
    not (find_spec("aiocometd_ng") and shutil.which("node")), reason="the rivals are not installed"
)
MARKS = {name: [pytest.mark.long, pytest.mark.timeout(300)] for name in DAEMONS}
MARKS["rivals"].append(without_rivals)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, [])) for name in SECTIONS if name not in OWN_SUITE]
)
def test_a_section_gives_tables_in_which_every_figure_was_taken(name: str, tmp_path: Path):
    for table in SECTIONS[name](Scale(rounds=1, share=0.001, folder=tmp_path)):
        assert table.rows
        assert all(len(row) == len(table.head) for row in table.rows)
        assert f"| {' | '.join(table.head)} |" in table.markdown()


def test_the_document_has_one_place_for_what_the_command_writes():
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.index(BEGIN) < text.index(END)
