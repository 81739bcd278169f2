"""`replicas`: who is there, and having one give back what it has."""

import json

import pytest

from listener.model.replica import Offer
from support.sharing import Sharing


@pytest.fixture
def sharing(monkeypatch):
    """Two replicas; `node-a` has all there is, and is not ready."""
    sharing = Sharing(monkeypatch)

    async def join(database):
        for name in ("node-a", "node-b"):
            joined = await database.join(name, version="1.2.3", lease_s=60.0)
            offers = [Offer(duty="account/alice"), Offer(duty="lane/crm"), Offer(duty="housekeeping")]
            await database.offer(joined.incarnation, offers if name == "node-a" else ())
            report = b'{"ready":false,"problems":["sink crm is parked: 401"]}' if name == "node-a" else None
            await database.beat(joined.incarnation, seen=0, report=report)

    sharing.run(join)
    return sharing


def test_replicas_are_listed_with_what_they_have(invoke, shared_config, sharing):
    result = invoke("replicas", "list", "--config", shared_config)
    assert (result.exit_code, result.stderr) == (0, "")
    heading, first, second = [line.split() for line in result.stdout.splitlines()]
    assert heading[:3] == ["replica", "state", "last"]
    assert first[:3] == ["node-a", "not", "ready"]
    assert first[-6:] == ["1.2.3", "sink", "crm", "is", "parked:", "401"]
    assert second[:2] == ["node-b", "alive"]


def test_they_come_as_json_as_the_status_shows_them(invoke, shared_config, sharing):
    result = invoke("replicas", "list", "--json", "--config", shared_config)
    first, second = map(json.loads, result.stdout.splitlines())
    assert (first["name"], first["accounts"], first["sinks"], first["housekeeping"]) == ("node-a", 1, 1, True)
    assert (first["ready"], first["problems"]) == (False, ["sink crm is parked: 401"])
    assert (second["name"], second["accounts"], second["ready"]) == ("node-b", 0, None)


def test_a_replica_is_drained_until_that_is_ended(invoke, shared_config, sharing):
    def states():
        lines = invoke("replicas", "list", "--json", "--config", shared_config).stdout.splitlines()
        return [json.loads(line)["state"] for line in lines]

    result = invoke("replicas", "drain", "node-b", "--config", shared_config)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("node-b gives back what it has")
    assert states() == ["alive", "draining"]
    assert invoke("replicas", "undrain", "node-b", "--config", shared_config).stdout == "node-b gets its share again\n"
    assert states() == ["alive", "alive"]


def test_a_replica_that_is_not_there_is_told_with_those_that_are(invoke, shared_config, sharing):
    result = invoke("replicas", "drain", "node-c", "--config", shared_config)
    assert (result.exit_code, result.stderr) == (
        1,
        "error: there is no replica 'node-c' (there are: node-a, node-b)\n",
    )


def test_without_any_it_says_so(invoke, shared_config, monkeypatch):
    Sharing(monkeypatch)
    assert invoke("replicas", "list", "--config", shared_config).stdout == "no replica is running\n"


def test_a_journal_in_a_file_has_no_replicas(invoke, config):
    result = invoke("replicas", "list", "--config", config)
    assert (result.exit_code, result.stderr) == (
        78,
        "error: journal.url: is needed: the journal of this configuration is a file, which replicas cannot share\n",
    )
