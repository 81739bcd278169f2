"""What is opened as our own, and what is refused."""

import os
from pathlib import Path

import pytest

from listener.runtime.owned import open_owned, open_to_read, refusal_to_write, regular, require_owned

STRANGER = 12_345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


def refuse(path, why):
    """Both ways refuse, and nothing has happened to the file."""
    before = path.read_bytes()
    for ask in (require_owned, lambda one: open_owned(one, os.O_RDWR | os.O_CREAT)):
        with pytest.raises(OSError, match=why) as caught:
            ask(path)
        assert caught.value.filename == str(path)
    assert path.read_bytes() == before


def test_a_file_is_made_and_opened_again(tmp_path):
    path = tmp_path / "ours"
    require_owned(path)
    os.close(open_owned(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640))
    assert path.stat().st_mode & 0o137 == 0
    os.close(open_owned(path, os.O_RDONLY))
    require_owned(path)
    with pytest.raises(FileNotFoundError):
        open_owned(tmp_path / "none", os.O_RDONLY)


@pytest.mark.parametrize("there", [True, False])
def test_no_link_is_followed_and_nothing_is_made_behind_it(tmp_path, there):
    victim, path = tmp_path / "victim", tmp_path / "ours"
    path.symlink_to(victim)
    if there:
        victim.write_bytes(b"precious")
        refuse(path, "it is a symbolic link")
    else:
        with pytest.raises(OSError, match="it is a symbolic link"):
            open_owned(path, os.O_RDWR | os.O_CREAT)
        assert not victim.exists()


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for ask in (require_owned, lambda one: open_owned(one, os.O_RDWR)):
        with pytest.raises(OSError, match="it is not a regular file"):
            ask(tmp_path / "pipe")


def test_a_file_of_whomever_is_read_and_nobody_is_waited_for(tmp_path):
    path, pipe = tmp_path / "file", tmp_path / "pipe"
    path.write_bytes(b"content")
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(pipe)
    for name in ("file", "link"):
        with open_to_read(tmp_path / name) as file:
            assert (file.read(), regular(tmp_path / name)) == (b"content", tmp_path / name)
    for ask in (open_to_read, regular):
        for what in (pipe, tmp_path, Path(os.devnull)):
            with pytest.raises(OSError, match="it is not a regular file"):
                ask(what)
        with pytest.raises(FileNotFoundError):
            ask(tmp_path / "none")
    with open_to_read(pipe, or_pipe=True) as file:
        assert file.read() == b"", "nobody writes to it"
        writer = os.open(pipe, os.O_WRONLY)
        os.write(writer, b"from a command")
        os.close(writer)
        assert file.read() == b"from a command"


@as_root
def test_another_users_file_is_refused_unless_the_folder_is_theirs_too(tmp_path):
    path = tmp_path / "theirs"
    path.write_bytes(b"trust me")
    os.chown(path, STRANGER, -1)
    refuse(path, f"it belongs to another user .uid {STRANGER}")
    os.chown(tmp_path, STRANGER, -1)
    os.close(open_owned(path, os.O_RDWR))


def test_what_the_host_would_not_let_us_write_is_told_before_it_is_tried(tmp_path, monkeypatch):
    assert refusal_to_write(tmp_path) is None
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    assert refusal_to_write(tmp_path) == "Permission denied"
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result([0] * 8 + [os.ST_RDONLY, 255]))
    assert refusal_to_write(tmp_path) == "Read-only file system"
