"""The names around an audit file."""

from pathlib import Path

import pytest

from listener.sinks.file.places import Places, sync_folder


def test_everything_is_beside_the_file_under_its_name():
    places = Places(Path("/var/audit.jsonl"))
    assert [place.name for place in (places.checkpoints, places.key, places.public_key)] == [
        "audit.jsonl.checkpoints",
        "audit.jsonl.key",
        "audit.jsonl.pub",
    ]


def test_a_folder_that_is_gone_cannot_be_synced(tmp_path):
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "gone")
