"""The demo's own PostgreSQL: what it needs, who reaches it, and that nothing stays."""

import asyncio
import os
import stat
from pathlib import Path

import asyncpg
import pytest

from listener.cli import demo_postgres
from listener.cli.demo_postgres import USER, programs, temporary_postgres
from listener.errors import StartError
from support.tools import lacking


def need_programs() -> None:
    try:
        programs()
    except StartError as exc:
        lacking(str(exc))


def folder_of(url: str) -> Path:
    return Path(url.partition("?host=")[2])


async def test_it_is_reached_over_its_socket_alone_is_durable_and_leaves_nothing(tmp_path: Path):
    need_programs()
    async with temporary_postgres(tmp_path / "postgres.log") as url:
        folder = folder_of(url)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        connection = await asyncpg.connect(host=str(folder), user=USER, database="postgres")
        settings = {name: await connection.fetchval(f"SHOW {name}") for name in ("listen_addresses", "fsync")}
        assert settings == {"listen_addresses": "", "fsync": "on"}
        server = await connection.fetchval("SELECT pg_backend_pid()")
        await connection.close()
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


async def test_a_session_that_stays_does_not_keep_it(tmp_path: Path):
    need_programs()
    async with temporary_postgres(tmp_path / "postgres.log") as url:
        connection = await asyncpg.connect(host=str(folder_of(url)), user=USER, database="postgres")
    assert not folder_of(url).exists()
    connection.terminate()


def test_whoever_lacks_the_programs_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(demo_postgres, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartError, match="apt-get install postgresql"):
        programs()


def test_the_newest_version_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(demo_postgres, "_DEBIAN", tmp_path)
    for version in ("9.6", "13", "15"):
        (tmp_path / version / "bin").mkdir(parents=True)
        for name in ("initdb", "postgres")[: 1 if version == "15" else 2]:
            (tmp_path / version / "bin" / name).touch(mode=0o755)
    assert programs() == tmp_path / "13" / "bin"


@pytest.mark.parametrize("broken", ["initdb", "postgres"])
def test_a_program_that_fails_is_named_with_the_file_that_has_its_reason(
    broken: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho no room; exit {int(name == broken)}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(demo_postgres, "programs", lambda: tmp_path)
    monkeypatch.setattr(demo_postgres, "_account", dict)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    async def start() -> None:
        async with temporary_postgres(tmp_path / "postgres.log"):
            pass

    with pytest.raises(StartError, match=f"{tmp_path}/postgres.log has its reason"):
        asyncio.run(start())
    assert list(tmp_path.glob("disposition-postgres-*")) == []
    assert (tmp_path / "postgres.log").read_text("utf-8") == "no room\n" * (1 if broken == "initdb" else 2)


async def test_root_without_an_account_to_run_it_as_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(demo_postgres, "programs", lambda: tmp_path)
    monkeypatch.setattr(demo_postgres, "_ACCOUNT", "nobody-of-this-name")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(StartError, match="run this as somebody else"):
        async with temporary_postgres(tmp_path / "postgres.log"):
            pass
