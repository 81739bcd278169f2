"""A configuration leads to a file of one process, or to a database that replicas share."""

import socket

import pytest

from listener.config.settings import Settings
from listener.daemon.duties import EveryDuty
from listener.daemon.storage import open_patiently, storage_of
from listener.errors import JournalError
from listener.journal.shared import Membership, SharedJournal
from listener.journal.sqlite import SqliteJournal
from listener.runtime.host import THIS_HOST
from listener.runtime.metrics import Metrics
from listener.testing import MemoryConnection, MemoryDatabase

URL = "postgresql://db.example.com:6000/dispositions"


@pytest.fixture
def settings(tmp_path):
    def made(**journal) -> Settings:
        return Settings.model_validate(
            {"server": {"url": "http://h"}, "sinks": {"out": {"type": "stdout"}}, "base": tmp_path, "journal": journal}
        )

    return made


def storage(settings: Settings, database=None):
    return storage_of(settings, host=THIS_HOST, metrics=Metrics(), new_database=database)


def test_a_file_is_one_processs_with_every_duty(settings, tmp_path):
    made = storage(settings())
    assert isinstance(made.journal, SqliteJournal)
    assert isinstance(made.duties, EveryDuty)
    assert made.place == str(tmp_path / "journal.db")
    assert set(made.workers) == {"journal"}


async def test_a_database_is_shared_under_the_name_of_the_host_unless_another_is_given(settings):
    database = MemoryDatabase(THIS_HOST.time_s)
    made = storage(settings(url=URL, replica="host-1"), lambda: MemoryConnection(database))
    assert isinstance(made.journal, SharedJournal)
    assert made.duties is made.membership
    assert isinstance(made.membership, Membership)
    assert made.place == URL
    assert made.wal_bytes() == 0
    await made.journal.open()
    assert [one.name for one in database.replicas()] == ["host-1"]
    await made.journal.close()
    assert settings(url=URL).journal.replica_name == socket.gethostname()


async def test_a_database_that_was_away_for_long_is_tried_again_as_soon_as_by_who_has_joined():
    caps_s: list[float] = []
    reasons: list[str] = []

    class Away:
        async def open(self) -> None:
            if len(reasons) < 6:
                raise JournalError("connection refused")

    def lowest(low: float, high: float) -> float:
        caps_s.append(high)
        return low

    await open_patiently(Away(), uniform=lowest, on_failure=reasons.append)
    assert reasons == ["connection refused"] * 6
    assert max(caps_s) == 1.0
