"""The schemas are those of the structs, their files are up to date, and events of every kind are valid."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from listener.model.event import Gap, Kind
from listener.model.schemas import DESCRIPTIONS, EVENTS, asyncapi, event_schema, text_of
from listener.testing import sample_event, sample_gap, sample_test
from support.events import disposition_event, gap_event

DOCS = Path(__file__).parents[2] / "docs"
FILES = {DOCS / "events.schema.json": event_schema, DOCS / "asyncapi.json": asyncapi}
SAMPLES = {
    "disposition": disposition_event(1),
    "another disposition": sample_event(2, sequence=7),
    "gap": gap_event(3),
    "another gap": sample_gap(4),
    "test": sample_test("crm"),
}


@pytest.fixture
def validator() -> Any:
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    jsonschema_rs.meta.validate(event_schema())
    return jsonschema_rs.Draft202012Validator(event_schema(), validate_formats=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_file_is_what_is_generated(path: Path):
    """Where it is not: `python tests/support/schemas.py` writes it."""
    assert path.read_text(encoding="utf-8") == text_of(FILES[path]())


@pytest.mark.parametrize("name", SAMPLES)
def test_an_event_of_each_kind_is_valid(validator: Any, name: str):
    event = json.loads(SAMPLES[name].to_json())
    assert [error.message for error in validator.iter_errors(event)] == []
    assert validator.is_valid({**event, "later": 1, "data": {**event["data"], "later": 1}}), "versions add fields"


def test_there_is_a_sample_and_a_schema_of_each_kind():
    assert {event.kind for event in SAMPLES.values()} == set(Kind) == set(EVENTS)


def test_a_gap_with_all_of_its_fields_is_valid(validator: Any):
    gap = Gap(
        account="a",
        from_="2026-11-22T09:39:00.123Z",
        to="2026-11-22T09:40:00.123Z",
        reason="network",
        closed_by="poll",
        seconds=1.5,
        clock_step_seconds=-2.0,
    )
    event = json.loads(msgspec.structs.replace(SAMPLES["gap"], data=msgspec.json.encode(gap)).to_json())
    assert validator.is_valid(event)


@pytest.mark.parametrize(
    ("part", "broken"),
    [
        ("specversion", "0.3"),
        ("type", "disposition-listener.chat.else"),
        ("id", ""),
        ("time", "yesterday"),
        ("sequence", 42),
        ("data", {}),
        ("data", None),
    ],
)
def test_what_is_no_event_is_not(validator: Any, part: str, broken: Any):
    event = json.loads(SAMPLES["disposition"].to_json())
    assert validator.is_valid(event)
    assert not validator.is_valid({**event, part: broken})
    assert not validator.is_valid({name: value for name, value in event.items() if name != part})


@pytest.mark.parametrize("kinds", [("disposition", "gap"), ("gap", "test"), ("test", "disposition")])
def test_the_data_of_one_kind_is_not_that_of_another(validator: Any, kinds: tuple[str, str]):
    one, other = (json.loads(SAMPLES[kind].to_json()) for kind in kinds)
    assert not validator.is_valid({**one, "data": other["data"]})


def test_every_field_is_described():
    for name, schema in event_schema()["$defs"].items():
        assert schema["description"], name
        for field, one in schema.get("properties", {}).items():
            assert one["description"], f"{name}.{field} needs a line in listener/model/schemas.py"
    assert all(text.endswith((".", ")")) for text in DESCRIPTIONS.values())


def test_every_reference_of_the_asyncapi_document_leads_somewhere():
    document = asyncapi()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            for key, one in value.items():
                if key == "$ref":
                    found: Any = document
                    for step in one.removeprefix("#/").split("/"):
                        found = found[step]
                look(one)
        elif isinstance(value, list | tuple):
            for one in value:
                look(one)

    look(document)
    assert set(document["channels"]["sink"]["messages"]) == {kind.value for kind in Kind}
