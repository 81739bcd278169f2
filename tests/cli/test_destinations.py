"""Files that a command writes."""

import stat

import pytest
import typer

from listener.audit.reading import AuditFile
from listener.cli.destinations import replacing, require_harmless
from listener.errors import StartError


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_file_is_there_once_it_is_whole(tmp_path):
    path = tmp_path / "report.csv"
    path.write_text("old")
    with replacing(path, "--csv") as file:
        file.write("né\r\n")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_bytes() == "né\r\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0, "it holds what the audit file holds"
    assert names(tmp_path) == ["report.csv"]


@pytest.mark.parametrize("why", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_file_that_was_there(tmp_path, why):
    path = tmp_path / "report.csv"
    path.write_text("old")

    def fail():
        with replacing(path, "--csv") as file:
            file.write("half")
            raise why

    with pytest.raises(why):
        fail()
    assert (path.read_text(), names(tmp_path)) == ("old", ["report.csv"])


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    told = pytest.raises(StartError, match=r"^--csv: cannot write .*/none/report.csv: No such file")
    with told, replacing(tmp_path / "none" / "report.csv", "--csv"):
        pass


def test_a_full_disk_is_named(tmp_path):
    (tmp_path / "report.csv.part").symlink_to("/dev/full")
    with pytest.raises(StartError, match="No space left"), replacing(tmp_path / "report.csv", "--csv") as file:
        file.write("x")
    assert names(tmp_path) == []


def test_no_audit_file_is_overwritten(tmp_path):
    audit = tmp_path / "audit.csv"
    audit.write_text("")
    (tmp_path / "link.csv").symlink_to(audit)
    with AuditFile(audit) as file:
        require_harmless(tmp_path / "report.CSV", "--csv", (".csv",), [file])
        for path, why in (("audit.jsonl", "should end in .csv"), ("link.csv", "one of the files that are read")):
            with pytest.raises(typer.BadParameter, match=why):
                require_harmless(tmp_path / path, "--csv", (".csv",), [file])
