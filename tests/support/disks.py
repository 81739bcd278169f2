"""Disks that can fill, turn read-only, and lose their power: ext4 in files, mounted for a test's daemon alone.

    async with Mounts() as mounts:
        disk = await mounts.disk(tmp_path / "disk", mib=64)
        listening = MountedListening(tmp_path, mounts=mounts, …)
        with disk.full(): ...                   # not a byte is free
        disk.cut_power()                        # what was not synced is gone; kill the daemon, then
        await disk.mount_again()

The mounts are in a namespace of their own that lives as long as its processes do: nothing is left of them, however the
test ends.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from support.config import audit_events
from support.eventually import eventually
from support.listening import Json, Listening
from support.process import Daemon, Process
from support.tools import need

MIB = 2**20
_FS_IOC_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2  # linux/fs.h: what the log of ext4 has not yet taken is lost
_HOLD = "echo ready; read -r _"  # until standard input is closed, which the end of the tests does too


class Mounts:
    """A mount namespace. As a context manager it exists from the start to the end.

    Entering it skips the test where mounting is not allowed: not as root, or in a container without that right.

    Attributes:
        enter: the words to put before a command that is to run inside.
    """

    def __init__(self) -> None:
        for tool, package in (("unshare", "util-linux"), ("nsenter", "util-linux"), ("mount", "mount")):
            need(tool, package=package)
        self._mkfs = need("mkfs.ext4", package="e2fsprogs")
        self._holder = Process(["unshare", "--mount", "--propagation", "private", "sh", "-c", _HOLD], hold_stdin=True)

    async def __aenter__(self) -> Self:
        if os.geteuid() != 0:
            pytest.skip("only root may mount a disk")
        await self._holder.start()
        try:
            await self._holder.line(lambda line: line == "ready")
        except AssertionError as exc:
            pytest.skip(f"no mount namespace is allowed here: {exc}")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._holder.stop()

    @property
    def enter(self) -> Sequence[str]:
        return "nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"

    def seen(self, path: Path) -> Path:
        """The same file for who is outside."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    async def run(self, *words: str | Path) -> None:
        """Run a command inside; it has to succeed."""
        child = await asyncio.create_subprocess_exec(
            *self.enter, *map(str, words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await child.communicate()
        assert child.returncode == 0, f"{' '.join(map(str, words))}: {output.decode(errors='replace')}"

    async def disk(self, place: Path, *, mib: int) -> "Disk":
        """A new disk of so many MiB, mounted at `place`, an empty folder that is created. Skips where it cannot be."""
        image = place.with_name(f"{place.name}.img")
        await self.run("mkdir", place)
        await self.run("truncate", "--size", f"{mib}M", image)
        await self.run(self._mkfs, "-q", "-F", "-m", "0", image)
        disk = Disk(self, image=image, place=place)
        try:
            await disk.mount()
        except AssertionError as exc:
            pytest.skip(f"no loop device is allowed here: {exc}")
        return disk


class Disk:
    """An ext4 in a file. `outside` is its folder for who is not in the namespace, which is entered by `enter`."""

    def __init__(self, mounts: Mounts, *, image: Path, place: Path) -> None:
        self._mounts = mounts
        self._image = image
        self.place = place
        self.enter = mounts.enter
        self.outside = mounts.seen(place)

    async def mount(self) -> None:
        await self._mounts.run("mount", "-o", "loop,errors=remount-ro", self._image, self.place)

    async def mount_again(self) -> None:
        """After a failure; nobody may have a file open. What the log holds comes back."""
        await self._mounts.run("umount", self.place)
        await self.mount()

    def cut_power(self) -> None:
        """Nothing reaches the disk from now on, nor can it be read; what was not yet durable never was."""
        folder = os.open(self.outside, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, _FS_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(folder)

    async def abort(self) -> None:
        """What the kernel does when it finds the file system damaged: read-only until it is mounted again."""
        await self._mounts.run("mount", "-o", "remount,abort", self.place)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is free while the block runs."""
        ballast = self.outside / "ballast"
        fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
        try:
            _fill(fd)
            yield
        finally:
            os.close(fd)
            ballast.unlink()


def _fill(fd: int) -> None:
    """Ask for ever less, since the last blocks are not got in one piece."""
    size, piece = 0, 64 * MIB
    while piece >= 512:
        try:
            os.posix_fallocate(fd, size, piece)
            size += piece
        except OSError:
            piece //= 2


class MountedListening(Listening):
    """An installation whose daemon sees the disks.

    Args:
        folder, server, more: as for `Listening`.
        mounts: the namespace to run in.
        audit: the folder of the audit file, inside.
    """

    def __init__(self, folder: Path, *, mounts: Mounts, audit: Path, **more: Any) -> None:
        super().__init__(folder, **more)
        self._mounts = mounts
        self._audit = mounts.seen(audit)

    async def start(self, *, subscribed: bool = True) -> Daemon:
        self.daemon = Daemon(self._config, **self._options)
        self.daemon.argv[:0] = self._mounts.enter
        await self.daemon.start()
        self._starts += 1
        if subscribed:
            await self.daemon.logged("subscribed")
        return self.daemon

    @property
    def events(self) -> list[Json]:
        return audit_events(self._audit)


@contextlib.asynccontextmanager
async def failing(pid: int, path: Path, *, calls: str, error: str):
    """Let these system calls of a process fail on one file, each of them, while the block runs.

    Args:
        pid: the process, with all its threads.
        path: the file as the process names it.
        calls: their names, with commas in between.
        error: as errno names it.
    """
    strace = need("strace", package="strace")
    watched = ["-f", "-qq", "-o", "/dev/null", "-p", str(pid), "-P", path]
    tracer = Process([strace, *watched, "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"])
    await tracer.start()
    try:
        status = Path(f"/proc/{pid}/status")
        await eventually(lambda: "TracerPid:\t0\n" not in status.read_text(), what=tracer.output)
        yield
    finally:
        await tracer.stop()
