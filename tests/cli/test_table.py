"""Tables for a terminal and for everything else."""

import pytest

from listener.cli import table

HEADING = ("sink", "at", "state")


def test_elsewhere_columns_are_as_wide_as_they_need_to_be(capsys):
    table.write(HEADING, [("audit", "7", "running"), ("crm", "1234", "parked: \x1b[1m401")], numbers=("at",))
    assert capsys.readouterr().out == ("sink     at  state\naudit     7  running\ncrm    1234  parked: \\x1b[1m401\n")


async def test_on_a_terminal_the_last_column_is_wrapped_and_no_cell_drives_it(start_shell):
    program = (
        "from listener.cli import table; "
        "table.write(('sink', 'state'), [('crm', 'answered [red]422[/red] ' + 'x' * 70 + chr(27) + 'c')])"
    )
    shell = await start_shell(f'script -qec "$PYTHON -c \\"{program}\\"" /dev/null', TERM="dumb")
    await shell.wait()
    shown = "".join("".join(shell.lines).split())
    assert "[red]422[/red]" in shown
    assert "\\x1bc" in shown
    assert max(len(line.rstrip()) for line in shell.lines) <= 80


async def test_where_a_terminal_leaves_it_little_room_the_last_column_has_lines_of_its_own(start_shell):
    program = (
        "from listener.cli import table; "
        "table.write(('sink', 'chat', 'why'), [('c' * 30, 'd' * 30, 'answered [red]422'), ('e' * 100, 'f', 'g')])"
    )
    shell = await start_shell(f'script -qec "$PYTHON -c \\"{program}\\"" /dev/null', TERM="dumb")
    await shell.wait()
    lines = [line.rstrip() for line in shell.lines]
    assert "    answered [red]422" in lines
    shown = "".join(lines)
    assert "e" * 100 in shown
    assert "    why" in lines


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 s"),
        (999, "0 s"),
        (59_000, "59 s"),
        (61_000, "1 min 1 s"),
        (7_200_000, "2 h"),
        (75 * 3_600_000, "3 d 3 h"),
        (90_061_000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_a_length_of_time_is_told_in_its_largest_units(ms, text):
    assert table.duration(ms) == text
