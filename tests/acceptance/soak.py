"""A long run under random faults, held against the ledger of what was published.

    python tests/acceptance/soak.py [--minutes 60] [--rate 200] [--no-ack] [--seed N] [--dir FOLDER]

One line a minute, then the verdict. Sessions end on purpose (the server forgets some, logins are revoked), so that the
promise, with acknowledgements and without, is: what is missing lies in a gap on record. Exits with 1 when anything
breaks a promise; the folder is kept then.
"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

import structlog

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support.soaking import Plan, Soak  # noqa: E402 - found by the line above


def say(line: str) -> None:
    """One line, at once: somebody may be watching."""
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=int, default=200, help="events a second")
    parser.add_argument("--no-ack", action="store_true", help="a server without the acknowledgement extension")
    parser.add_argument("--seed", type=int, default=time.time_ns(), help="of the dice, to play a run again")
    parser.add_argument("--dir", type=Path, help="where journal and audit file are written; a temporary folder without")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # the simulator's words
    plan = Plan(seconds=options.minutes * 60.0, rate=options.rate, ack=not options.no_ack, seed=options.seed)
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=options.dir))
    problems = asyncio.run(Soak(plan, folder, say=say).run())
    for problem in problems[:50]:
        say(f"PROBLEM: {problem}")
    if problems:
        say(f"{len(problems)} problems; journal and audit file are in {folder}")
        return 1
    shutil.rmtree(folder)
    say("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
