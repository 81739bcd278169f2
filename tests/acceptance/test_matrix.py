"""The fault matrix: under every fault, against either server, nothing is lost that is not on record.

All cells that were chosen run at the same time; each is then one test. `python tests/acceptance/matrix.py` shows them
as a table.
"""

import asyncio
from pathlib import Path

import pytest

from support.bayeux import need_node
from support.cells import CELLS, Cell, Outcome, play_all
from support.faults import FAULTS, LEFT_OUT, SERVERS

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, Outcome]:
    """What came of each cell that this run has a test of."""
    chosen = {
        item.callspec.params["cell"]
        for item in request.session.items
        if item.path == Path(__file__) and hasattr(item, "callspec")
    }
    cells = [cell for cell in CELLS if cell in chosen]
    if any(cell.server == "cometd" for cell in cells):
        need_node()
    played = asyncio.run(play_all(cells, tmp_path_factory.mktemp("matrix")))
    return {outcome.cell: outcome for outcome in played}


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_nothing_is_lost_that_is_not_on_record(cell: Cell, outcomes: dict[Cell, Outcome]):
    assert not outcomes[cell].problems, str(outcomes[cell])


def test_every_fault_is_played_on_both_servers_or_left_out_with_a_reason():
    assert {fault.name for fault in FAULTS if set(fault.servers) != set(SERVERS)} == set(LEFT_OUT)
