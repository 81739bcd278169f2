"""Hostile servers and receivers, one after the other, before a daemon that has other accounts and sinks too.

    python tests/acceptance/hostile.py [--only gzip] [--only "at the webhook"] [--markdown]

Each peer has a daemon of its own, run as a process. The table says how often the peer was heard, the highest resident
memory, the CPU time of the loop's longest turn, by how much a timer was late at most (which the machine's other work
adds to), the part of a core that it all took, and whether the other account and the other sinks went on. Exits with 1
when a limit is broken.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import structlog

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support.hostile import PLAYS, Play  # noqa: E402 - found by the line above
from support.ordeal import LONGEST_TURN_MS, MOST_MIB, Outcome, undergo  # noqa: E402 - found by the line above

COLUMNS = ("peer", "heard", "peak MiB", "longest turn ms", "latest ms", "CPU %", "the others")
FIGURES = range(1, 6)


def row(outcome: Outcome) -> tuple[str, ...]:
    """One line of the table."""
    figures = (outcome.peak_mib, outcome.turn_ms, outcome.late_ms, outcome.busy * 100)
    others = "; ".join(outcome.problems) or "went on"
    return (str(outcome.play), str(outcome.played), *(f"{figure:.0f}" for figure in figures), others)


def table(rows: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """For a terminal, or for a document."""
    if markdown:
        rule = ["---:" if place in FIGURES else "---" for place in range(len(COLUMNS))]
        return "\n".join(f"| {' | '.join(words)} |" for words in (COLUMNS, rule, *rows))
    widths = [max(len(line[place]) for line in (COLUMNS, *rows)) for place in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            word.rjust(width) if place in FIGURES else word.ljust(width) for place, (word, width) in enumerate(cells)
        )
        for cells in (zip(line, widths, strict=True) for line in (COLUMNS, *rows))
    )


async def run(plays: Sequence[Play]) -> list[Outcome]:
    """Play them, with one line on standard error for each that is done."""
    outcomes = []
    for play in plays:
        with tempfile.TemporaryDirectory() as folder:
            outcome = await undergo(play, Path(folder))
        print("ok" if outcome.kept else "BROKEN", play, file=sys.stderr)
        outcomes.append(outcome)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="peers whose name holds this; repeatable")
    parser.add_argument("--markdown", action="store_true", help="for a document")
    options = parser.parse_args()
    plays = [play for play in PLAYS if not options.only or any(word in str(play) for word in options.only)]
    if not plays:
        parser.error("no peer has such a name")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # the simulator's words
    outcomes = asyncio.run(run(plays))
    print(table([row(outcome) for outcome in outcomes], markdown=options.markdown))
    broken = [outcome for outcome in outcomes if not outcome.kept]
    if broken:
        print(f"{len(broken)} of {len(outcomes)} broke a limit ({MOST_MIB:.0f} MiB, {LONGEST_TURN_MS:.0f} ms)")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
