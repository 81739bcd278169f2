"""What the disks do for a test: real mounts, real full disks, what is not synced is gone."""

import errno
import os
from pathlib import Path

import pytest

from support.disks import Mounts


@pytest.fixture
async def disk(owned, tmp_path: Path):
    mounts = await owned.enter_async_context(Mounts())
    return await mounts.disk(tmp_path / "disk", mib=16)


async def test_nobody_else_sees_a_mount(disk):
    (disk.outside / "file").write_text("here")
    assert list(disk.place.iterdir()) == []
    assert not disk.place.is_mount()


async def test_a_power_cut_takes_what_was_not_synced_and_nothing_else(disk):
    for name, synced in (("kept", True), ("lost", False)):
        with (disk.outside / name).open("w") as file:
            file.write("a line\n")
            file.flush()
            if synced:
                os.fsync(file.fileno())
    disk.cut_power()
    with pytest.raises(OSError, match="Input/output error"):
        (disk.outside / "kept").read_text()
    await disk.mount_again()
    assert (disk.outside / "kept").read_text() == "a line\n"
    assert not (disk.outside / "lost").exists() or (disk.outside / "lost").read_text() == ""


async def test_a_full_disk_takes_nothing_until_it_is_freed(disk):
    file = disk.outside / "file"
    with disk.full(), pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        file.write_text("a line\n" * 1000)
    file.write_text("a line\n" * 1000)


async def test_an_aborted_file_system_is_read_only(disk):
    (disk.outside / "file").write_text("a line\n")
    await disk.abort()
    with pytest.raises(OSError, match="Read-only file system"):
        (disk.outside / "file").write_text("another\n")
    await disk.mount_again()
    (disk.outside / "file").write_text("another\n")
