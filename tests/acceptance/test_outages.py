"""Outages that a session survives, before a real CometD server: no session is lost, whenever it was polled last."""

from pathlib import Path

import pytest

from support.bayeux import need_node
from support.outages import play

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.mark.parametrize("ack", [True, False], ids=["ack", "no ack"])
async def test_no_session_is_lost_while_the_server_keeps_it(tmp_path: Path, *, ack: bool):
    need_node()
    outcomes = await play(tmp_path, ack=ack, seconds=[4.0, 7.0, 9.0], runs=2)
    assert [one.lost for one in outcomes] == [0, 0, 0]
    if ack:
        assert [(one.missing, one.gaps) for one in outcomes] == [(0, 0)] * 3
