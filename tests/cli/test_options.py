"""Options mean the same wherever they stand."""

import pytest

NEEDS_CONFIG = [("run",), ("check",), ("set-disposition", "chat", "code"), ("journal", "stats"), ("tail",)]
NEEDS_CONFIG += [
    ("dead-letters", "list"),
    ("dead-letters", "drop", "--all"),
    ("sinks", "list"),
    ("sinks", "resume", "x"),
]


@pytest.mark.parametrize("command", NEEDS_CONFIG, ids=" ".join)
@pytest.mark.parametrize("option", ["--config", "-c"])
def test_a_configuration_that_is_not_there_is_named_by_every_command_that_reads_one(invoke, command, option):
    result = invoke(*command, option, "missing.toml")
    assert result.exit_code == 78
    assert result.stderr == "error: missing.toml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("command", [("tail",), ("journal", "show")], ids=" ".join)
def test_chat_and_json_are_options_wherever_events_are_shown(invoke, command):
    text = invoke(*command, "--help").stdout
    assert "--chat ID" in text
    assert "--json" in text
