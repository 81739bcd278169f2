"""How events are written for a sink."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.model.forms import CLOUD_EVENT, NAMES, DataForm, TemplateForm, form_of, is_json, problem_of
from support.events import disposition_event, gap_event

JSON = "application/json"
TEXT = "text/plain"


def with_data(**fields):
    event = disposition_event(7)
    return replace(event, data=json.dumps({**json.loads(event.data), **fields}).encode())


def test_by_default_it_is_the_cloud_event():
    event = disposition_event(1)
    assert form_of("cloudevents", None, TEXT) is CLOUD_EVENT
    assert CLOUD_EVENT.body(event) == event.to_json()
    assert event.to_json().startswith(CLOUD_EVENT.opening)


def test_data_is_the_event_s_data():
    event = disposition_event(1)
    form = form_of("data", None, TEXT)
    assert (form.body(event), form.content_type) == (event.data, "application/json")
    assert form.body(gap_event(2)).startswith(DataForm.opening)


def test_a_text_template_names_attributes_and_data():
    form = form_of("template", "$$5 $sequence $time ${chatId}: $previous -> $disposition $participants", TEXT)
    assert form.body(disposition_event(7)) == (b"$5 7 2026-11-22T09:39:00.123Z 0000Na9B26EF003M:  -> IssueResolved []")
    assert form.body(gap_event(8)).startswith(b"$5 8 2026"), "fields that a gap has not got are empty"
    assert form.content_type == TEXT


def test_a_csv_template_has_cells_that_no_spreadsheet_runs():
    form = form_of("template", "$chatId,$disposition;$previous", "Text/CSV; header=absent")
    event = with_data(chatId='a"b', disposition="x;=1+1", previous="\t=cmd")
    assert form.body(event) == b'"a""b","x;\'=1+1";"\' =cmd"'


def test_a_json_template_keeps_types_and_is_always_json():
    fields = {"n": "$referenceId", "who": "${participants}", "was": "$previous", "text": "<$chatId> was $previous"}
    template = json.dumps({**fields, "x": [1]})
    form = form_of("template", template, "application/vnd.crm+json; charset=utf-8")
    assert json.loads(form.body(with_data(participants=[{"nickname": "A"}]))) == {
        "n": 34,
        "who": [{"nickname": "A"}],
        "was": None,
        "text": "<0000Na9B26EF003M> was ",
        "x": [1],
    }


@pytest.mark.parametrize(
    ("template", "content_type", "opening"),
    [("at $time", TEXT, b"at "), ("$time", TEXT, b""), ('{"$id": 1}', JSON, b"{"), ('["$id"]', JSON, b"")],
)
def test_a_template_tells_how_every_body_begins_where_that_is_certain(template: str, content_type: str, opening: bytes):
    form = TemplateForm(template, content_type)
    assert form.opening == opening
    assert form.body(disposition_event(1)).startswith(opening)


@given(st.text())
def test_no_value_breaks_the_line_or_the_json(value: str):
    event = with_data(disposition=value)
    line = TemplateForm("[$disposition]", TEXT).body(event).decode()
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    told = json.loads(TemplateForm('{"a": "$disposition", "b": "-$disposition", "k$disposition": 1}', JSON).body(event))
    assert told["a"] == value


@pytest.mark.parametrize(
    ("template", "content_type", "problem"),
    [
        ("costs $ 5", TEXT, "holds a $ that begins no name"),
        ("$chatid", TEXT, "names 'chatid', known are id, type"),
        ("a\nb", TEXT, "holds a line end"),
        ('{"a": $chatId}', JSON, "is not JSON: "),
        ("[" * 100_000, JSON, "is not JSON: "),
        ('{"$nobody": 1}', JSON, "names 'nobody'"),
        ('{"a": [{"b": "$"}]}', JSON, "holds a $"),
    ],
)
def test_what_is_wrong_with_a_template_is_told(template: str, content_type: str, problem: str):
    assert (problem_of(template, content_type) or "").startswith(problem)


def test_every_name_may_stand_in_a_template():
    for name in NAMES:
        assert problem_of(f"${name}", TEXT) is None
        TemplateForm(f"${name}", TEXT).body(gap_event(1))


@pytest.mark.parametrize(
    ("media_type", "verdict"),
    [(JSON, True), ("Application/JSON;charset=utf-8", True), ("a/b+json", True), (TEXT, False), ("a/json5", False)],
)
def test_json_is_known_by_its_media_type(media_type: str, verdict: bool):
    assert is_json(media_type) is verdict
