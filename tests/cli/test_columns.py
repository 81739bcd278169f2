"""Columns of rows that are still coming."""

from listener.cli import columns
from listener.cli.columns import Columns


def test_columns_are_fitted_and_only_grow_from_block_to_block(capsys, monkeypatch):
    monkeypatch.setattr(columns, "_BLOCK", 3)
    shown = Columns(("a", "b"))
    for cell in ("1", "22", "333", "4"):
        shown.add((cell, "x"))
    shown.end()
    assert capsys.readouterr().out == "a   b\n1   x\n22  x\n333  x\n4    x\n"


def test_without_rows_there_is_the_heading(capsys):
    shown = Columns(("a", "b"))
    shown.end()
    shown.end()
    assert capsys.readouterr().out == "a  b\n"


async def test_a_terminal_gets_colours_and_no_cell_drives_it(start_shell):
    program = (
        "from listener.cli.columns import Columns; shown = Columns(('a', 'b')); "
        "shown.add(('[red]x[/red]' + chr(27) + 'c', 'y' * 99), 'green'); shown.end()"
    )
    shell = await start_shell(f'script -qec "$PYTHON -c \\"{program}\\"" /dev/null', TERM="xterm")
    await shell.wait()
    text = "\n".join(shell.lines)
    assert "\x1b[32m[red]x[/red]\\x1bc  " + "y" * 99 in text
