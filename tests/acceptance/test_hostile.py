"""A server or a receiver that is hostile to one account or sink costs the others nothing, and little memory.

`python tests/acceptance/hostile.py` plays all of them and shows them as a table.
"""

from pathlib import Path

import pytest

from support.hostile import PLAYS, Play
from support.ordeal import undergo

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

SOME = (
    "interim answers without end, at the login",
    "a head in drops, at the webhook",
    "600 MiB behind gzip, at the login",
)
SOME += ("a redirect, at the poll", "a CSRF header of its own", "one useless event after the other")


@pytest.mark.parametrize("play", [play for play in PLAYS if str(play).startswith(SOME)], ids=str)
async def test_whoever_is_hostile_to_one_harms_no_other(play: Play, tmp_path: Path):
    outcome = await undergo(play, tmp_path)
    assert outcome.kept, str(outcome)
