"""A PostgreSQL for the tests of a file, and a schema of its own for each test."""

import pytest

from support.postgresjournal import PostgresWorld
from support.postgresserver import PostgresServer


@pytest.fixture(scope="module")
def server():
    with PostgresServer(fsync="off") as server:  # no test cuts its power
        yield server


@pytest.fixture
async def world(server):
    world = PostgresWorld(server)
    yield world
    await world.end()
