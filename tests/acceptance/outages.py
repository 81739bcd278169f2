"""Short outages before a real CometD server with maxInterval 10 s, as a table: no session may be lost.

    python tests/acceptance/outages.py [--runs 20] [--seconds 4 7 9] [--no-ack]

Exits with 1 when a session was lost, or with acknowledgements an event.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import structlog

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support.bayeux import need_node  # noqa: E402 - found by the line above
from support.outages import play  # noqa: E402 - found by the line above

COLUMNS = ("without network", "at most", "runs", "sessions", "lost", "events missing", "gaps", "all heard again within")


def main() -> int:
    """Play, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="outages of each length")
    parser.add_argument("--seconds", type=float, nargs="+", default=[4.0, 7.0, 9.0], help="their lengths")
    parser.add_argument("--no-ack", action="store_true", help="a server without the acknowledgement extension")
    chosen = parser.parse_args()
    need_node()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        outcomes = asyncio.run(
            play(Path(folder), ack=not chosen.no_ack, seconds=chosen.seconds, runs=chosen.runs),
        )
    print(f"| {' | '.join(COLUMNS)} |\n| {' | '.join(['---:'] * len(COLUMNS))} |")
    for one in outcomes:
        figures = (one.runs, one.sessions, one.lost, one.missing, one.gaps)
        begin = f"| {one.seconds:g} s | {one.outage_s:.1f} s"
        print(f"{begin} | {' | '.join(map(str, figures))} | {one.recovery_s:.1f} s |")
    return int(any(one.lost or (one.missing and not chosen.no_ack) for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
