"""Files of which a bad disk gives a part."""

import pytest

from listener.journal.files import copy_readable


@pytest.mark.parametrize("size", [0, 1, 4096, 10_000])
def test_what_can_be_read_is_copied_as_it_is(tmp_path, size):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 40)
    with (tmp_path / "file").open("r+b") as file:
        file.truncate(size)
    assert copy_readable(tmp_path / "file", tmp_path / "copy") == 0
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
