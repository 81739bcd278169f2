"""What every sink's table may hold."""

import pytest
from pydantic import ValidationError

from listener.config.lane import LaneSettings
from listener.config.schema import problems_of


def problems(**table) -> list[str]:
    try:
        LaneSettings(type="stdout", **table)
    except ValidationError as exc:
        return [f"{problem.path}: {problem.text}" for problem in problems_of(exc, LaneSettings)]
    return []


def test_the_keys_of_the_kind_are_left_to_it():
    lane = LaneSettings(type="file", path="a.jsonl")
    assert lane.options == {"path": "a.jsonl"}
    assert "path" not in lane.shared_keys


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"fields": ["chatid"]}, "fields[0]: there is no field 'chatid' in data, did you mean 'chatId'?"),
        ({"changes": ["new"]}, "changes[0]: should be 'set', 'changed', 'unchanged' or 'cleared'"),
        ({"format": "xml"}, "format: should be 'cloudevents', 'data' or 'template'"),
        ({"format": "template"}, ': format = "template" and template = "…" go together'),
        ({"template": "$time"}, ': format = "template" and template = "…" go together'),
        ({"format": "template", "template": "$"}, "template: holds a $ that begins no name; write $$ for the sign"),
        ({"template_type": "text"}, 'template_type: should be a media type, such as "text/plain; charset=utf-8"'),
        ({"retry_horizon_h": 0}, 'retry_horizon_h: should be a number of hours above 0, or "never"'),
    ],
)
def test_what_is_wrong_is_told_with_its_place(table, problem):
    (found,) = problems(**table)
    assert found.startswith(problem)


def test_a_template_of_json_is_fine():
    table = {"format": "template", "template": '{"a": "$chatId"}', "template_type": "application/json"}
    assert problems(**table) == []


def test_the_problem_of_a_template_is_told_beside_the_others():
    assert len(problems(format="template", template="$nobody", fields=["chatid"], changes=["new"])) == 3
