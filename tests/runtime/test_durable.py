"""Names that survive a power cut, and syncs that can be believed."""

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from listener.runtime.durable import require_sound, sync_file, sync_folder
from support.disks import Mounts


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_folder_itself_is_synced(tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        "from listener.runtime.durable import sync_folder; sync_folder(Path(sys.argv[1]))"
    )
    trace = tmp_path / "trace"
    command = ["strace", "-y", "-o", trace, "-e", "trace=fsync", sys.executable, "-c", program, tmp_path]
    subprocess.run(command, check=True, timeout=60)
    assert f"<{tmp_path}>" in trace.read_text()


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_folder(tmp_path / "file")
    before = len(list(Path("/proc/self/fd").iterdir()))
    sync_folder(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_folder_that_is_gone_cannot_be_synced(tmp_path):
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "gone")


async def test_a_file_system_that_has_given_up_is_told_though_the_file_was_synced(tmp_path):
    async with Mounts() as mounts:
        disk = await mounts.disk(tmp_path / "disk", mib=16)
        descriptor = os.open(disk.outside / "file", os.O_RDWR | os.O_CREAT)
        try:
            os.write(descriptor, b"kept")
            sync_file(descriptor)
            await disk.abort()
            with pytest.raises(OSError, match=r"Read-only file system|Input/output error"):
                require_sound(descriptor)
            assert os.pread(descriptor, 4, 0) == b"kept"
        finally:
            os.close(descriptor)


def test_where_all_is_well_nothing_is_written(tmp_path):
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    sync_file(descriptor)
    require_sound(descriptor)
    assert os.fstat(descriptor).st_size == 0
    os.close(descriptor)


def test_the_log_of_the_file_system_has_to_take_a_change_after_each_sync(tmp_path):
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.utime(descriptor, (1, 1))
    sync_file(descriptor)
    assert os.fstat(descriptor).st_mtime > 1
    os.close(descriptor)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_whenever_a_file_system_gives_up_what_was_synced_is_there(tmp_path):
    """Where the sync alone is believed, one time in four it is not; with a write of no bytes alone, one in twenty."""
    async with Mounts() as mounts:
        disk = await mounts.disk(tmp_path / "disk", mib=16)
        for _ in range(100):
            path = disk.outside / "file"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            sync_file(descriptor)
            sync_folder(disk.outside)
            writing = asyncio.create_task(asyncio.to_thread(_write_until_it_fails, descriptor))
            await disk.abort()
            synced = await writing
            os.close(descriptor)
            await disk.mount_again()
            assert path.stat().st_size >= synced


def _write_until_it_fails(descriptor):
    """How many bytes were synced."""
    synced = 0
    with suppress(OSError):
        while True:
            written = os.write(descriptor, bytes(5000))
            sync_file(descriptor)
            synced += written
    return synced
