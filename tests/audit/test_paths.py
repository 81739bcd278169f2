"""The names around an audit file."""

from pathlib import Path

from listener.audit.paths import Paths


def test_everything_is_beside_the_file_under_its_name():
    paths = Paths(Path("/var/audit.jsonl"))
    assert [place.name for place in (paths.checkpoints, paths.key, paths.public_key)] == [
        "audit.jsonl.checkpoints",
        "audit.jsonl.key",
        "audit.jsonl.pub",
    ]
