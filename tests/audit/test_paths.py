"""The names around an audit file."""

from pathlib import Path

from listener.audit.paths import Places


def test_everything_is_beside_the_file_under_its_name():
    places = Places(Path("/var/audit.jsonl"))
    assert [place.name for place in (places.checkpoints, places.key, places.public_key)] == [
        "audit.jsonl.checkpoints",
        "audit.jsonl.key",
        "audit.jsonl.pub",
    ]
