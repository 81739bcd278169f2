"""The fault matrix as a table: what the daemon lost, doubled and put on record under each fault.

    python tests/acceptance/matrix.py [--only black] [--only "cometd with ack"] [--markdown] [--at-once 8]

Each cell has a server, a daemon and a folder of its own; a publisher streams numbered dispositions through the fault,
and every line of the audit file is held against its ledger. Exits with 1 when a cell breaks a promise.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support.bayeux import need_node  # noqa: E402 - found by the line above
from support.cells import CELLS, CELLS_AT_ONCE, Cell, Outcome, play_all  # noqa: E402 - found by the line above
from support.faults import LEFT_OUT  # noqa: E402 - found by the line above

COLUMNS = (
    *("fault", "server", "ack", "published", "delivered", "by re-reading", "duplicates", "gaps"),
    *("missing", "outside a gap", "recovered in s"),
)
TEXTS = 3  # the first columns are words, the rest figures


def row(outcome: Outcome) -> tuple[str, ...]:
    """One line of the table."""
    cell, verdict = outcome.cell, outcome.verdict
    words = (cell.fault.name, cell.server, "yes" if cell.ack else "no")
    recovered = "never" if outcome.recover_s is None else f"{outcome.recover_s:.1f}"
    if verdict is None:
        return (*words, *"?" * 7, recovered)
    missing, unaccounted = len(verdict.missing), len(verdict.unaccounted)
    events = (verdict.published, verdict.delivered, verdict.reconciled, verdict.duplicates, verdict.gaps)
    return (*words, *map(str, (*events, missing, unaccounted)), recovered)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """For a terminal."""
    widths = [max(len(line[place]) for line in (COLUMNS, *rows)) for place in range(len(COLUMNS))]

    def line(words: Sequence[str]) -> str:
        return "  ".join(
            word.ljust(width) if place < TEXTS else word.rjust(width)
            for place, (word, width) in enumerate(zip(words, widths, strict=True))
        )

    return "\n".join(map(line, (COLUMNS, *rows)))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """For a document."""
    rule = ["---" if place < TEXTS else "---:" for place in range(len(COLUMNS))]
    return "\n".join(f"| {' | '.join(words)} |" for words in (COLUMNS, rule, *rows))


def chosen(only: Sequence[str]) -> list[Cell]:
    """The cells whose name holds one of the words; all without any."""
    return [cell for cell in CELLS if not only or any(word in cell.name for word in only)]


async def run(cells: Sequence[Cell], *, at_once: int) -> list[Outcome]:
    """Play them, with one line on standard error for each that is done."""

    def done(outcome: Outcome) -> None:
        print("FAILED" if outcome.problems else "ok", outcome.cell.name, file=sys.stderr)

    with tempfile.TemporaryDirectory() as folder:
        return await play_all(cells, Path(folder), at_once=at_once, done=done)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="WORDS", help="cells whose name holds these")
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--at-once", type=int, default=CELLS_AT_ONCE, help="cells that run at a time")
    parser.add_argument("--log", action="store_true", help="show the daemon's last words of each cell")
    options = parser.parse_args()
    need_node()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # the simulators' words
    start = time.monotonic()
    outcomes = asyncio.run(run(chosen(options.only), at_once=options.at_once))
    rows = [row(outcome) for outcome in outcomes]
    print(markdown(rows) if options.markdown else aligned(rows))
    print("\nNot played: " + "; ".join(f"{fault}: {reason}" for fault, reason in LEFT_OUT.items()) + ".\n")
    failed = [outcome for outcome in outcomes if outcome.problems]
    print(f"{len(outcomes)} cells, {len(failed)} failed, {time.monotonic() - start:.0f} s", file=sys.stderr)
    for outcome in outcomes if options.log else failed:
        print(f"\n{outcome}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
