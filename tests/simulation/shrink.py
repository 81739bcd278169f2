"""The smallest schedule that still shows a finding: delta debugging over its faults, then a shorter world."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from simulation.schedule import AnyFault, Schedule, ends_at


def shrunk(plan: Schedule, shows: Callable[[Schedule], bool], *, plays: int = 200) -> Schedule:
    """A schedule of as few of these faults as still show what is looked for.

    Args:
        plan: shows it.
        shows: plays a schedule, and tells whether it does too.
        plays: how many may be played.
    """
    left = [plays]

    def holds(candidate: Schedule) -> bool:
        left[0] -= 1
        return left[0] >= 0 and shows(candidate)

    plan = replace(plan, faults=tuple(_minimal(plan.faults, lambda faults: holds(replace(plan, faults=tuple(faults))))))
    last = max((ends_at(fault) for fault in plan.faults), default=0.0)
    for candidate in (replace(plan, lasts_s=min(plan.lasts_s, last + 2.0)), replace(plan, csrf=False, batched=False)):
        if candidate != plan and holds(candidate):
            plan = replace(candidate, csrf=candidate.csrf, batched=candidate.batched)
    return plan


def _minimal(faults: Sequence[AnyFault], holds: Callable[[Sequence[AnyFault]], bool]) -> Sequence[AnyFault]:
    """Zeller's ddmin: drop ever smaller parts for as long as what is left still holds."""
    parts = 2
    while len(faults) >= 1:
        size = -(-len(faults) // parts)
        smaller = next(
            (
                rest
                for start in range(0, len(faults), size)
                if holds(rest := [*faults[:start], *faults[start + size :]])
            ),
            None,
        )
        if smaller is not None:
            faults, parts = smaller, max(2, parts - 1)
        elif parts >= len(faults):
            break
        else:
            parts = min(len(faults), parts * 2)
    return faults
