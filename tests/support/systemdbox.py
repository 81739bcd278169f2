"""A machine of its own for a test: a real systemd as PID 1, over a throw-away copy of this machine's files.

    async with SystemdBox(tmp_path) as box:
        await box.run("systemctl", "start", "something")
        box.path("/etc/motd").read_text()

systemd-nspawn boots an overlay whose upper layer is in memory, in namespaces of its own: mounts, processes, a network
with nothing but `lo`, and a tree of control groups. Nothing of this machine is started in it or changed by it, and it
ends with the process that opened it.
"""

import asyncio
import os
import secrets
from pathlib import Path
from typing import Self

import pytest

from support.eventually import eventually
from support.process import Process
from support.tools import need

# CAP_BPF lets the box's systemd bind the rules of SocketBindAllow= and IPAddressDeny= to control groups.
_RIGHTS = "--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN --system-call-filter=bpf"
_BOOT = f"""
set -eu
group=/sys/fs/cgroup/$NAME
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir "$group"
echo $$ > "$group/cgroup.procs"
mount -t tmpfs -o size=1g,mode=755 tmpfs "$FOLDER"
mkdir "$FOLDER/up" "$FOLDER/work" "$FOLDER/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$FOLDER/up,workdir=$FOLDER/work" "$FOLDER/root"
cd "$FOLDER/root"
rm -rf etc/systemd/system/*.wants var/log/journal etc/machine-id
: > etc/machine-id
echo mounted
setpriv --pdeathsig KILL systemd-nspawn -q -D . -M "$NAME" --register=no --keep-unit --private-network \
    --resolv-conf=off --timezone=off --link-journal=no {_RIGHTS} --console=pipe -b systemd.show_status=no </dev/null &
nspawn=$!
echo "nspawn $nspawn"
exec 3<&0
cat <&3 >/dev/null &  # ends with whoever holds the other end
holder=$!
trap : TERM
wait -n || :
pkill -KILL -P "$nspawn" || :
kill "$holder" 2>/dev/null || :
wait || :
echo $$ > /sys/fs/cgroup/cgroup.procs
find "$group" -depth -type d -exec rmdir {{}} +
"""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class SystemdBox:
    """The machine. As a context manager it is up from the start to the end.

    Entering it skips the test without root, or where no mounts are allowed.

    Args:
        folder: empty; where the copy is mounted, out of sight of the other processes here.
    """

    def __init__(self, folder: Path) -> None:
        need("systemd-nspawn", package="systemd-container")
        for tool in ("unshare", "nsenter", "setpriv"):
            need(tool, package="util-linux")
        need("pkill", package="procps")
        environment = {"PATH": _PATH, "FOLDER": str(folder), "NAME": f"box-{os.getpid()}-{secrets.token_hex(2)}"}
        self._holder = Process(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c", _BOOT], env=environment, hold_stdin=True
        )
        self._leader = 0

    async def __aenter__(self) -> Self:
        if os.geteuid() != 0:
            pytest.skip("only root may boot a machine")
        await self._holder.start()
        try:
            await self._holder.line(lambda line: line == "mounted")
        except AssertionError as exc:
            await self._holder.stop()
            pytest.skip(f"no mounts are allowed here: {exc}")
        try:
            await self._booted()
        except BaseException:
            await self._holder.stop()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._holder.stop()

    async def _booted(self) -> None:
        nspawn = (await self._holder.line(lambda line: line.startswith("nspawn "))).split()[1]

        async def up() -> bool:
            assert self._holder.exit_status is None, self._holder.output()
            self._leader = await _child_of(nspawn)
            status, state = await self.attempt("systemctl", "is-system-running")
            return status == 0 or state.strip() == "degraded"

        await eventually(up, interval_s=0.05, what=self._holder.output)

    def path(self, inside: str) -> Path:
        """A file of the box for who is outside. Symbolic links that begin with / lead astray."""
        return Path(f"/proc/{self._leader}/root{inside}")

    async def attempt(self, *words: str | Path) -> tuple[int, str]:
        """Run a command in the box; its exit status and all its output."""
        enter = ("nsenter", "-t", str(self._leader), "-m", "-u", "-i", "-n", "-p", "-C")
        child = await asyncio.create_subprocess_exec(
            *enter,
            *map(str, words),
            env={"PATH": _PATH, "LANG": "C.UTF-8", "HOME": "/root", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await child.communicate()
        assert child.returncode is not None
        return child.returncode, output.decode(errors="replace")

    async def run(self, *words: str | Path) -> str:
        """Run a command in the box, which has to succeed; its output."""
        status, output = await self.attempt(*words)
        assert status == 0, f"{' '.join(map(str, words))}: {status}\n{output}"
        return output


async def _child_of(pid: str) -> int:
    """The process that it has started last, 0 where there is none: first a helper, then the box's PID 1."""
    child = await asyncio.create_subprocess_exec("pgrep", "--newest", "-P", pid, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    return int(output or 0)
