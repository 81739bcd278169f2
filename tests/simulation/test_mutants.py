"""The oracle tells when a safeguard is switched off; `python -m tests.simulation mutants` finds the seeds anew."""

import pytest

pytest.importorskip("simloop", reason="simloop, the simulated event loop, needs Python 3.12")

from simulation.explore import play_seed
from simulation.mutants import ALL, shown_by

SEEDS = {
    "ack before commit": 26,
    "ack computed": 1,
    "no re-subscribe": 3,
    "gap not written": 4,
    "gap begins late": 8,
    "gap begins early": 0,
    "slow to return": 2,
    "hold not learned": 120,
    "no re-read": 48,
    "no resume state": 3,
    "batch taken twice": 2,
    "repeats kept": 2,
    "commit not synced": 3,
    "values before commit": 6,
    "cursor first": 9,
    "retry dropped": 8,
    "resend forgotten": 245,
    "dead letter dropped": 50,
    "file written twice": 33,
    "chat out of order": 1,
    "files not looked at": 20,
    "no lock": 34,
    "late writes": 3,
    "no revisions": 0,
    "no numbers": 0,
    "no steadiness": 7,
    "no eviction": 3,
    "doubt is failure": 16,
    "own memory": 73,
    "ack before a shared commit": 2,
    "no certainty": 101,
    "no age": 1,
    "one id": 0,
    "refusal forgotten": 1,
    "team not asked for again": 2,
    "taken out in silence": 0,
}


@pytest.mark.parametrize("name", ALL)
def test_a_mutant_is_caught_by_a_seed_that_finds_nothing_else(name: str):
    mutant, seed = ALL[name], SEEDS[name]
    assert play_seed(seed, mutant.replicas, media=mutant.media, team=mutant.team).unknown == []
    assert shown_by(mutant, seed), f"find another seed: python -m tests.simulation mutants --only '{name}'"
