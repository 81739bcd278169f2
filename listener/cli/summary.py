"""What the demo has to say at its end."""

import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.text import Text

from listener.cli.readable import STYLES
from listener.cli.tally import Tally
from listener.simulator import Summary

_NAME = "disposition-listener"


def summarise(
    *, day: Summary, played_s: float, counts: Counter[str], tally: Tally, latency: str, audit: Path, config: Path
) -> Iterator[Text]:
    """Line by line: what was played, what came of it, and where it is now."""
    yield Text(f"\n{day.chats} chats, {day.conferences} of them with two agents, in {played_s:.1f} s\n", style="bold")
    for change, published in (("set", day.set), ("changed", day.changed), ("cleared", day.cleared)):
        yield _heard(change, counts[change], published)
    repeated = tally.published - day.changes
    yield _heard("unchanged", counts["unchanged"], repeated, "repeated by the server, or heard by a second agent too")
    if (counts["set"], counts["changed"], counts["cleared"]) != (day.set, day.changed, day.cleared):
        yield Text("  (two changes in one millisecond cannot be told from the echoes of a second agent)", style="dim")
    yield Text()
    yield from _faults(tally)
    yield Text(f"  {'rate':<12}{tally.events / played_s:.1f} events a second, at this pace")
    yield Text(f"  {'latency':<12}{latency}, from the server's stamp to the disk\n")
    if tally.good:
        yield Text("Everything that was published is on the disk: once, and in order.\n", style="green")
    else:
        yield Text("Not everything is as it should be.\n", style="bold red")
    yield Text(f"The events, one JSON object a line, are in\n  {audit}\nTo look at them:")
    yield Text(f"  {_program()} tail {shlex.quote(str(audit))}")
    yield Text(f"  {_program()} journal stats --config {shlex.quote(str(config))}")


def _program() -> str:
    """What a shell knows this command by: its name, or the file that was called where no folder of PATH holds it."""
    called = sys.argv[0]
    return shlex.quote(called) if Path(called).name == _NAME and shutil.which(_NAME) is None else _NAME


def _heard(change: str, heard: int, published: int, note: str = "") -> Text:
    figures = f"{heard:>5} of {published:<5} {note}".rstrip()
    return Text.assemble("  ", (f"{change:<10}", STYLES[change]), figures)


def _faults(tally: Tally) -> Iterator[Text]:
    """What a good run has none of; the last two are not spoken of then."""
    told = (
        ("missing", tally.missing, "published, and not in the file"),
        ("duplicates", tally.duplicates, "in the file more than once"),
        ("gaps", tally.gaps, "stretches in which something could have been missed"),
    )
    if_any = (
        ("unexpected", tally.unexpected, "in the file, and never published"),
        ("misordered", tally.out_of_order, "chats whose events are not in their order"),
    )
    for name, count, note in (*told, *(fault for fault in if_any if fault[1])):
        yield Text(f"  {name:<10}{count:>5}          {note}", style="bold red" if count else "")
