"""Names that survive a power cut."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from listener.durable import sync_folder


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_folder_itself_is_synced(tmp_path):
    program = (
        "import sys; from pathlib import Path; from listener.durable import sync_folder; sync_folder(Path(sys.argv[1]))"
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
