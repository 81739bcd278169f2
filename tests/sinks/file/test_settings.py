"""What can be said of a file sink, and what is refused with its place."""

from pathlib import Path

import pytest

from listener.config.lane import LaneSettings
from listener.model.forms import CLOUD_EVENT, DataForm
from listener.sinks import registry
from listener.sinks.file.settings import FileSettings, options_of
from listener.sinks.registry import SinkContext


def problems(**options):
    lane = LaneSettings(type="file", path="a.jsonl", **options)
    return [str(problem) for problem in registry.problems("audit", lane)]


def test_the_chain_is_on_for_whole_events_and_off_for_other_forms():
    whole = options_of(SinkContext(name="audit", base=Path("/x"), form=CLOUD_EVENT), FileSettings(path=Path("a")))
    assert (whole.path, whole.chain, whole.recall, whole.must_sign) == (Path("/x/a"), True, True, False)
    part = options_of(SinkContext(name="audit", base=Path("/x"), form=DataForm()), FileSettings(path=Path("a")))
    assert (part.chain, part.recall) == (False, False)
    off = FileSettings(path=Path("a"), chain=False)
    assert (options_of(SinkContext(name="audit", base=Path("/x")), off).chain) is False


def test_a_chain_that_is_asked_for_needs_whole_events():
    assert problems(format="data", chain=True) == ['sinks.audit.chain: needs format = "cloudevents" instead of "data"']
    assert problems(chain=True) == problems(format="data") == problems(format="data", chain=False) == []


def test_what_belongs_to_the_chain_needs_it(tmp_path):
    key = tmp_path / "own.key"
    key.touch()
    for off in ({"chain": False}, {"format": "data"}):
        found = problems(checkpoint_url="https://witness.example.com/", key_file=str(key), **off)
        assert [problem.partition(":")[0] for problem in found] == [
            "sinks.audit.checkpoint_url",
            "sinks.audit.key_file",
        ]
        assert all("needs the chain" in problem for problem in found)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("mode", "0200", "octal number"),
        ("mode", "640x", "octal number"),
        ("checkpoint_lines", 0, "at least 1"),
        ("checkpoint_s", 0, "more than 0"),
        ("rotate_bytes", 100, "at least 4096"),
        ("rotate_hours", 0, "more than 0"),
        ("keep_files", 0, "at least 1"),
        ("keep_days", -1, "more than 0"),
        ("checkpoint_url", "ftp://a", "http:// or https://"),
        ("proxy", "http://proxy:3128", "is for checkpoint_url, which is not given"),
        ("key_file", "gone.key", "cannot read"),
        ("rotate_byte", 5000, "did you mean 'rotate_bytes'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(key, value, text):
    (problem,) = problems(**{key: value})
    assert problem.startswith(f"sinks.audit.{key}: ")
    assert text in problem


def test_figures_may_come_from_the_environment_as_texts():
    assert problems(rotate_bytes="5000", compress="true", keep_days="1.5", chain="true") == []
