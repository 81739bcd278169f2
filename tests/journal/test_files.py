"""Names that survive a power cut, and files of which a bad disk gives a part."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from listener.journal.files import copy_readable, sync_folder


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_folder_itself_is_synced(tmp_path):
    program = (
        "import sys; from pathlib import Path; from listener.journal.files import sync_folder;"
        " sync_folder(Path(sys.argv[1]))"
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


@pytest.mark.parametrize("size", [0, 1, 4096, 10_000])
def test_what_can_be_read_is_copied_as_it_is(tmp_path, size):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 40)
    with (tmp_path / "file").open("r+b") as file:
        file.truncate(size)
    assert copy_readable(tmp_path / "file", tmp_path / "copy") == 0
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
