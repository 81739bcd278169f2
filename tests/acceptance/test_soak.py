"""Minutes under random faults: what is not in the file is on record, and memory stays where it was.

    pytest -m soak tests/acceptance/test_soak.py

`LISTENER_SOAK_MINUTES` says how long; memory is judged from nine minutes on.
"""

import os
from pathlib import Path

import pytest

from support.soaking import Plan, Soak

SECONDS = 60.0 * float(os.environ.get("LISTENER_SOAK_MINUTES", "2"))

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 400.0)]


@pytest.mark.parametrize("ack", [True, False], ids=["with ack", "without ack"])
async def test_what_is_missing_after_a_long_run_under_faults_is_on_record(tmp_path: Path, *, ack: bool):
    soak = Soak(Plan(seconds=SECONDS, ack=ack), tmp_path, say=print)
    assert await soak.run() == []
