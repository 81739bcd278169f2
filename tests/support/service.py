"""The listener as a service of a box, installed as deploy/systemd/README.md says, beside a simulated site."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.config import AUDIT, toml
from support.eventually import eventually
from support.process import SOURCE
from support.site_packages import install_into
from support.systemdbox import SystemdBox
from support.tools import need

DEPLOY = SOURCE / "deploy" / "systemd"
HOME = "/opt/disposition-listener"
ETC = "/etc/disposition-listener"
CLONE = "/srv/clone"
COMMAND = f"{HOME}/bin/disposition-listener"
SITE = "http://127.0.0.1:8080"
CHAT = "0000Na9B26EF003M"
_CONSOLE_SCRIPT = f"#!{HOME}/bin/python3\nimport sys\n\nfrom listener.cli import main\n\nsys.exit(main())\n"
_SYSTEMS_PYTHON = "/usr/bin/python3"


def readme_blocks(language: str) -> list[str]:
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def put_python_into(box: SystemdBox) -> None:
    """What `python3 -m venv` and `pip install` do, with what is installed here; skips where that does not fit."""
    asked = [_SYSTEMS_PYTHON, "-c", "import sys; print(sys.version_info[:2] == " + repr(sys.version_info[:2]) + ")"]
    if not Path(_SYSTEMS_PYTHON).exists() or subprocess.check_output(asked, text=True).strip() != "True":
        pytest.skip(f"the system's own Python is not {sys.version_info.major}.{sys.version_info.minor}")
    home = box.path(HOME)
    subprocess.run([_SYSTEMS_PYTHON, "-m", "venv", "--without-pip", home], check=True)
    (site,) = home.glob("lib/python3.*/site-packages")
    install_into(site)
    script = home / "bin" / "disposition-listener"
    script.write_text(_CONSOLE_SCRIPT, encoding="utf-8")
    script.chmod(0o755)


class Service:
    """One instance: its unit, its configuration, what it has written.

    Args:
        box: where.
        instance: of the template unit; None for the unit that stands alone.
        agents: its accounts.
    """

    def __init__(self, box: SystemdBox, *, instance: str | None = None, agents: tuple[str, ...] = ("agent1",)) -> None:
        self.box, self.agents, self._instance = box, agents, instance
        self.unit = f"disposition-listener{f'@{instance}' if instance else ''}.service"
        self.state = f"/var/lib/disposition-listener{f'-{instance}' if instance else ''}"
        self.config = f"{ETC}/{instance or 'listener'}.toml"

    def configure(self, **more: Any) -> bool:
        """Write the configuration, `more` in place of its tables or beside them; whether it was another one before."""
        accounts = [{"username": name, "password_file": f"secrets_{name}.secret"} for name in self.agents]
        audit = {"type": "file", "path": f"{self.state}/{AUDIT}"}
        base = {
            "server": {"url": SITE},
            "accounts": accounts,
            "journal": {"path": f"{self.state}/journal.db"},
            "sinks": {"audit": audit, **more.pop("sinks", {})},
        }
        return self.write(toml({**base, **more}))

    def write(self, text: str) -> bool:
        """Write the configuration as it is given."""
        return _replaced(self.box.path(self.config), text)

    def drop_in(self, text: str) -> bool:
        """Write what a site changes in the unit's `[Service]`; whether it was something else before."""
        folder = self.box.path(f"/etc/systemd/system/{self.unit}.d")
        folder.mkdir(exist_ok=True)
        return _replaced(folder / "site.conf", f"[Service]\n{text}\n")

    async def systemctl(self, verb: str, *more: str) -> str:
        return await self.box.run("systemctl", verb, *more, self.unit)

    async def show(self, *properties: str) -> dict[str, str]:
        text = await self.systemctl("show", f"--property={','.join(properties)}")
        return dict(line.split("=", 1) for line in text.splitlines())

    async def becomes(self, **wanted: str) -> None:
        """Wait until properties of the unit are what is wanted; a value is a regular expression for all of it."""
        last: dict[str, str] = {}

        async def reached() -> bool:
            last.update(await self.show(*wanted))
            return all(re.fullmatch(pattern, last[name]) for name, pattern in wanted.items())

        await eventually(reached, timeout_s=45.0, interval_s=0.1, what=lambda: f"{wanted}, not {last}")

    async def main_pid(self) -> int:
        """The process, by its number in the box."""
        return int((await self.show("MainPID"))["MainPID"])

    async def log(self, event: str) -> list[dict[str, Any]]:
        """Its log lines with this event name."""
        lines = await self.box.run("journalctl", "--quiet", "--output=cat", f"--unit={self.unit}")
        entries = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
        return [entry for entry in entries if entry.get("event") == event]

    def events(self) -> list[dict[str, Any]]:
        """All that is in its audit file, each event once."""
        path = self.box.path(f"{self.state}/{AUDIT}")
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return list({event["id"]: event for event in map(json.loads, text.splitlines())}.values())

    def codes(self) -> list[str | None]:
        """The dispositions of its audit file; None for a gap."""
        return [event["data"].get("disposition") for event in self.events()]

    async def heard(self, code: str) -> None:
        await eventually(lambda: code in self.codes(), what=lambda: f"{code} in {self.codes()}")


def _replaced(path: Path, text: str) -> bool:
    """Whether the file was another one before; it now holds the text."""
    before = path.read_text(encoding="utf-8") if path.exists() else None
    path.write_text(text, encoding="utf-8")
    return before != text


class Site:
    """The simulated Web Services, a unit of the box as well."""

    def __init__(self, box: SystemdBox) -> None:
        self._box = box

    async def start(self) -> None:
        need("curl", package="curl")
        words = ("simulate", "--ack", "--timeout-ms", "1000", "--max-interval-ms", "30000")
        await self._box.run("systemd-run", "--quiet", "--unit=site", COMMAND, *words)

        async def answers() -> bool:
            return (await self._box.attempt("curl", "-sf", f"{SITE}/control/state"))[0] == 0

        await eventually(answers, interval_s=0.1)

    async def control(self, order: str, **members: Any) -> Mapping[str, Any]:
        """Have a fault happen; see `listener/simulator/control.py`."""
        body = json.dumps(members)
        return json.loads(await self._box.run("curl", "-sSf", "-d", body, f"{SITE}/control/{order}"))

    async def dispose(self, code: str, *, agent: str = "agent1", chat: str = CHAT) -> None:
        """What the agent's desktop does: the documented operation, over REST."""
        body = json.dumps({"operationName": "SetDisposition", "disposition": code})
        login = ("-u", f"{agent}:secret", "-H", "Content-Type: application/json")
        await self._box.run("curl", "-sSf", *login, "-d", body, f"{SITE}/api/v2/me/chats/{chat}")


def put_clone_into(box: SystemdBox, *, agents: tuple[str, ...]) -> None:
    """The folder in which the README's commands run: deploy/, a configuration, the secrets."""
    clone = box.path(CLONE)
    shutil.copytree(DEPLOY, clone / "deploy" / "systemd")
    configuration = readme_blocks("toml")[0]  # the second is one of several hosts
    text = configuration.replace("https://gws.example.com", SITE)
    (clone / "listener.toml").write_text(text, encoding="utf-8")
    for agent in agents:
        (clone / f"{agent}.secret").write_text("secret\n", encoding="utf-8")


def readme_commands() -> list[str]:
    """The README's commands, without those that need a package index: see `put_python_into`."""
    return [line for line in readme_blocks("sh")[0].splitlines() if "pip" not in line and "venv" not in line]
