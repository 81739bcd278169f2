"""`python -m tests.simulation`: explore seeds, replay one, make a schedule smaller."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from simulation.draws import draw
from simulation.explore import Outcome, explore, play
from simulation.known import CASES
from simulation.schedule import Schedule
from simulation.shrink import shrunk

COMMAND = "python -m tests.simulation"
_SHOWN = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 where something was found that no open case explains."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["mutants"]:
        from simulation.mutants import main as mutants  # noqa: PLC0415 - it patches the product

        return mutants(argv[1:])
    options = _parser().parse_args(argv)
    console = Console(soft_wrap=True)
    if options.schedule is not None or options.seed is not None:
        plan = (
            draw(options.seed, options.replicas, media=options.media)
            if options.schedule is None
            else Schedule.from_json(options.schedule.read_bytes())
        )
        return _replay(console, plan, shrink=options.shrink, log=options.log)
    seeds = range(options.start, options.start + options.seeds)
    outcomes = explore(seeds, workers=options.workers, replicas=options.replicas, media=options.media)
    return _explore(console, len(seeds), outcomes, strict=options.strict)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__, allow_abbrev=False)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--from", dest="start", type=int, default=0, help="the first of them")
    parser.add_argument("--replicas", type=int, default=0, help="so many that share a journal, instead of one process")
    parser.add_argument("--media", action="store_true", help="emails and calls come beside chats")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--strict", action="store_true", help="an open case is a failure too")
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--schedule", type=Path, help="replay the schedule in this file (JSON)")
    parser.add_argument("--shrink", action="store_true", help="find the fewest faults that show the same")
    parser.add_argument("--log", action="store_true", help="print what the parts log, in virtual time")
    return parser


def command_of(plan: Schedule) -> str:
    """What plays the schedule of a seed again."""
    replicas = f" --replicas {plan.replicas}" if plan.replicas else ""
    media = " --media" if len(plan.media) > 1 else ""
    return f"{COMMAND} --seed {plan.seed}{replicas}{media} --shrink"


# --- one world --------------------------------------------------------------------------------------------------------


def _replay(console: Console, plan: Schedule, *, shrink: bool, log: bool) -> int:
    outcome = play(plan, log=log)
    if shrink and (outcome.unknown or outcome.known):
        wanted = _signature(outcome)
        plan = shrunk(plan, lambda candidate: wanted <= _signature(play(candidate)))
        outcome = play(plan)
    console.print(plan.to_json(), highlight=False)
    for finding in outcome.unknown:
        console.print(f"[red]{finding}")
    for case_id, finding in outcome.known.items():
        console.print(f"[yellow]open case {case_id}[/]: {finding}")
    console.print(f"trace {outcome.trace}, {outcome.virtual_s:.0f} virtual seconds, {outcome.cpu_s:.2f} s of CPU")
    return bool(outcome.unknown)


def _signature(outcome: Outcome) -> frozenset[str]:
    """What a smaller schedule has to show as well."""
    unknown = {finding.promise for finding in outcome.unknown}
    return frozenset(unknown or outcome.known)


# --- many -------------------------------------------------------------------------------------------------------------


def _explore(console: Console, seeds: int, outcomes: Iterable[Outcome], *, strict: bool) -> int:
    began_s = time.monotonic()
    failed: list[Outcome] = []
    known: Counter[str] = Counter()
    cpu_s = virtual_s = 0.0
    columns = (TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[failed]} failed"), console=console) as progress:
        task = progress.add_task("", total=seeds, failed=0)
        for outcome in outcomes:
            cpu_s += outcome.cpu_s
            virtual_s += outcome.virtual_s
            known.update(outcome.known.keys())
            if outcome.unknown or (strict and outcome.known):
                failed.append(outcome)
                progress.console.print(f"[red]seed {outcome.plan.seed}[/]: {_first(outcome)}")
            progress.update(task, advance=1, failed=len(failed))
    took_s = time.monotonic() - began_s
    console.print(
        f"{seeds} seeds, {virtual_s / 3600:.1f} virtual hours in {took_s:.0f} s "
        f"({seeds / max(cpu_s, 1e-9):.1f} seeds a second and core)"
    )
    _print_known(console, known)
    _print_failed(console, failed)
    return bool(failed)


def _first(outcome: Outcome) -> str:
    return str((outcome.unknown or list(outcome.known.values()))[0])


def _print_known(console: Console, known: Counter[str]) -> None:
    if known:
        table = Table("open case", "seeds", "what it is", title="explained by open cases")
        for case in CASES:
            if case.id in known:
                table.add_row(case.id, str(known[case.id]), case.text)
        console.print(table)


def _print_failed(console: Console, failed: Sequence[Outcome]) -> None:
    kinds = Counter(
        finding.promise for outcome in failed for finding in {one.promise: one for one in outcome.unknown}.values()
    )
    for kind, amount in kinds.most_common():
        console.print(f"{amount:6} {kind}")
    for outcome in failed[:_SHOWN]:
        console.print(command_of(outcome.plan), highlight=False)
    if len(failed) > _SHOWN:
        console.print(f"and {len(failed) - _SHOWN} more")
