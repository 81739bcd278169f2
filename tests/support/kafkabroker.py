"""A real Kafka broker (KRaft, one node), fetched by Maven where Java and Maven are installed."""

import contextlib
import fcntl
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.broker import Broker, free_port
from support.tools import lacking

PROJECT = Path(__file__).parents[1] / "interop" / "kafka"
JARS = PROJECT / "jars"
USER, PASSWORD = "agent", "s3cret-of-the-cluster"  # of a broker with logins
_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
_JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info")


def java_with_kafka() -> list[str]:
    """How to run a class of Kafka's. Skips the test where Java or Maven is not installed: no host has to have them."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None:
        missing = "java" if java is None else "mvn"
        pytest.skip(f"{missing} is not installed (Debian: apt-get install default-jre-headless maven)")
    JARS.mkdir(exist_ok=True)
    with (JARS / ".lock").open("w") as lock, contextlib.closing(lock):
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not any(JARS.glob("kafka_*.jar")):
            fetching = [maven, "-q", "-B", "-f", PROJECT, "dependency:copy-dependencies", f"-DoutputDirectory={JARS}"]
            done = subprocess.run(fetching, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                lacking(f"Maven cannot fetch Kafka: {done.stdout[-500:]}")
    return [java, *_JVM, "-cp", f"{JARS}/*"]


class KafkaBroker(Broker):
    """One broker that is its own controller; `folder` keeps its data.

    Args:
        folder: an empty one.
        listeners: further ones, named after their protocol: `SSL`, `SASL_PLAINTEXT`, `SASL_SSL`; or `LINK`, which tells
            its clients to come through `link_port`, where a test may stand in between.
        properties: more of its configuration, by name.
        formatting: more arguments of its storage tool.
    """

    def __init__(
        self,
        folder: Path,
        *,
        listeners: tuple[str, ...] = (),
        properties: Mapping[str, str] | None = None,
        formatting: tuple[str, ...] = (),
    ) -> None:
        self.link_port = free_port()
        self.ports = {name: free_port() for name in ("PLAINTEXT", *listeners, "CONTROLLER")}
        config = folder / "server.properties"
        lines = {**self._properties(folder), **(properties or {})}
        config.write_text("".join(f"{name}={value}\n" for name, value in lines.items()), encoding="utf-8")
        java = java_with_kafka()
        tool = [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(config), *formatting]
        subprocess.run(tool, check=True, capture_output=True)
        argv = [*java, "kafka.Kafka", config]
        super().__init__(
            argv, folder=folder, port=self.ports["PLAINTEXT"], ready="Kafka Server started", ready_within_s=60
        )

    @property
    def server(self) -> str:
        return self.at("PLAINTEXT")

    def at(self, listener: str) -> str:
        """Host and port of one listener."""
        return f"127.0.0.1:{self.ports[listener]}"

    def _properties(self, folder: Path) -> dict[str, str]:
        places = {name: self.at(name) for name in self.ports}
        advertised = {name: place for name, place in places.items() if name != "CONTROLLER"}
        if "LINK" in advertised:
            advertised["LINK"] = f"127.0.0.1:{self.link_port}"
        protocols = {name: "PLAINTEXT" if name in ("CONTROLLER", "LINK") else name for name in self.ports}
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{self.at('CONTROLLER')}",
            "controller.listener.names": "CONTROLLER",
            "listeners": _listed(places),
            "advertised.listeners": _listed(advertised),
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "log.dirs": str(folder / "data"),
            "auto.create.topics.enable": "true",  # the usual default, which the sink must not make use of
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            # So that the controller lets a broker in soon that has been killed.
            "broker.session.timeout.ms": "1000",
            "broker.heartbeat.interval.ms": "200",
        }


def _listed(places: Mapping[str, str]) -> str:
    return ",".join(f"{name}://{place}" for name, place in places.items())
