"""deploy/kubernetes: the laboratory's pod really runs, by podman in Kubernetes' place, and survives kill -9."""

import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.broker import free_port
from support.eventually import eventually
from support.kustomize import build
from support.listening import CODE, numbers
from support.podman import IMAGE, Podman
from support.pods import ProjectedSecret, kind, playable, probe_path, secret_files
from support.process import Command

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

LABORATORY = Path(__file__).parents[2] / "deploy" / "kubernetes" / "overlays" / "laboratory"
POD, CONTAINER, VOLUME = "disposition-listener-0", "disposition-listener-0-listener", "state-disposition-listener-0"
CHAT = "0000Na9B26EF003M"


class Pod:
    """The pod of some manifests, listening to the site at `url`; its secrets are those of the laboratory."""

    def __init__(self, podman: Podman, folder: Path, *, url: str) -> None:
        self.podman, self.port, self.objects = podman, free_port(), build(LABORATORY)
        config = kind(self.objects, "ConfigMap")["data"]
        text = config["listener.toml"].replace("https://gws.example.com", url)
        config["listener.toml"] = text.replace("0.0.0.0:9464", f"0.0.0.0:{self.port}")
        (given,) = (
            volume["secret"]
            for volume in kind(self.objects, "StatefulSet")["spec"]["template"]["spec"]["volumes"]
            if "secret" in volume
        )
        self.files = secret_files(self.objects)
        self.secret = ProjectedSecret(folder / "secret", self.files, group=65532, mode=given["defaultMode"])
        self._manifest = folder / "pod.yaml"
        self._manifest.write_text(playable(self.objects, image=IMAGE, secrets=self.secret.folder), encoding="utf-8")

    @property
    def container(self) -> dict[str, Any]:
        (found,) = kind(self.objects, "StatefulSet")["spec"]["template"]["spec"]["containers"]
        return found

    def start(self) -> None:
        self.podman.run("play", "kube", self._manifest)

    @property
    def pid(self) -> int:
        return int(self.podman.inspect(CONTAINER)["State"]["Pid"])

    def log(self) -> str:
        done = self.podman.attempt("logs", CONTAINER)
        return (done.stdout + done.stderr)[-4000:]

    async def answers(self, probe: str, status: int) -> str:
        """Wait until a probe, asked as the kubelet does, has this status; what it says then."""
        path, said = probe_path(self.objects, probe), []

        async def asked() -> bool:
            try:
                async with http.get(f"http://127.0.0.1:{self.port}{path}") as answer:
                    said.append(await answer.text())
                    return answer.status == status
            except aiohttp.ClientError:
                return False

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            await eventually(asked, timeout_s=60.0, interval_s=0.2, what=self.log)
        return said[-1]

    def events(self) -> list[dict[str, Any]]:
        """All that stands in the audit file of the volume, doubles too."""
        volume = self.podman.inspect(VOLUME, what="volume")["Mountpoint"]
        text = (Path(volume) / "dispositions.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    async def heard(self, last: int) -> None:
        await eventually(
            lambda: last in numbers([each for each in self.events() if each["type"].endswith(".disposition")]),
            timeout_s=30.0,
            interval_s=0.1,
            what=self.log,
        )


@pytest.fixture
async def site(start_command) -> Command:
    return await start_command("simulate", "--port", "0", "--ack", "--timeout-ms", "1000", "--max-interval-ms", "30000")


@pytest.fixture
async def pod(podman: Podman, site: Command, tmp_path: Path) -> AsyncIterator[Pod]:
    await site.line(lambda line: line.startswith("Ctrl-C"))
    yield Pod(podman, tmp_path, url=site.lines[0].split()[1])
    podman.attempt("pod", "rm", "--force", "--time=0", POD)
    podman.attempt("volume", "rm", "--all", "--force")


async def dispose(site: Command, *given: int) -> None:
    """Set the chat's disposition to each of these numbers, over REST."""
    url = f"{site.lines[0].split()[1]}/api/v2/me/chats/{CHAT}"
    login = {"Authorization": aiohttp.encode_basic_auth("agent1", "secret")}
    async with aiohttp.ClientSession(headers=login, raise_for_status=True) as http:
        for number in given:
            order = {"operationName": "SetDisposition", "disposition": f"{CODE}{number}"}
            async with http.post(url, json=order):
                pass


async def test_the_pod_works_without_rights_with_a_secret_that_is_replaced_later(pod: Pod, site: Command):
    pod.start()
    assert await pod.answers("livenessProbe", 200) == "ok\n"
    assert "accounts[0]" in await pod.answers("readinessProbe", 503)
    pod.secret.replace(pod.files | {"agent1.secret": b"secret\n"})
    await pod.answers("readinessProbe", 200)
    await dispose(site, 1)
    await pod.heard(1)
    status = {name: value.split() for name, value in pod.podman.process(CONTAINER).items()}
    assert (status["Uid"], status["Gid"]) == (["65532"] * 4, ["65532"] * 4)
    assert {int(status[name][0], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    made = pod.podman.inspect(CONTAINER)["HostConfig"]
    assert (made["ReadonlyRootfs"], made["Memory"]) == (True, 512 * 2**20)
    mounts = {mount["name"]: mount["mountPath"] for mount in pod.container["volumeMounts"]}
    assert pod.podman.writable(CONTAINER) == {mounts["state"], mounts["tmp"]}
    pod.podman.run("exec", CONTAINER, "python", "-c", "import tempfile; tempfile.TemporaryFile()")


async def test_a_killed_process_comes_back_and_goes_on_where_it_was(pod: Pod, site: Command):
    pod.secret.replace(pod.files | {"agent1.secret": b"secret\n"})
    pod.start()
    await pod.answers("readinessProbe", 200)
    await dispose(site, *range(1, 31))
    killed = pod.pid
    os.kill(killed, signal.SIGKILL)
    await dispose(site, *range(31, 41))
    await pod.answers("readinessProbe", 200)
    await dispose(site, *range(41, 51))
    await pod.heard(50)
    assert pod.pid != killed
    assert_whole(pod, 50)
    pod.podman.run("pod", "stop", "--time=30", POD)
    assert pod.podman.inspect(CONTAINER)["State"]["ExitCode"] == 0
    await dispose(site, 51)
    pod.podman.run("pod", "start", POD)
    await pod.heard(51)
    assert_whole(pod, 51)


def assert_whole(pod: Pod, last: int) -> None:
    """Each event once, in its order, and no gap, neither told nor in the sequence."""
    events = pod.events()
    assert numbers(events) == list(range(1, last + 1))
    assert [int(event["sequence"]) for event in events] == list(range(1, last + 1))
    assert len({event["id"] for event in events}) == last
