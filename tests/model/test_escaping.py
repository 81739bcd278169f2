"""Texts from outside drive neither a terminal nor a spreadsheet."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.model.escaping import cell, defused, is_plain, printable

SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001 - as the code has them
PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z")))


@given(st.text(st.characters(codec=None)))
def test_what_drives_a_terminal_is_seen_instead(text):
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\\t=1"),
        ("\r\n=1", "'\\r\\n=1"),
        ("＝1", "'＝1"),  # noqa: RUF001 - the full-width sign
        ("'=1", "''=1"),
        ("'tHooft", "'tHooft"),
        ("a=1", "a=1"),
        ("", ""),
        ("a\nb\x1b", "a\\nb\\x1b"),
        (";=1+1", ";'=1+1"),
        ("a; =1;b", "a;' =1;b"),
        ('";"=1', '";\'"=1'),
        ("x;\t=1", "x;'\\t=1"),
    ],
)
def test_what_would_be_a_formula_is_text(text, field):
    assert defused(text) == field


@given(PRINTABLE)
def test_leaving_one_quote_out_gives_the_text_back(text):
    pieces = []
    for piece in defused(text).split(";"):
        assert not piece.startswith(SIGNS)
        pieces.append(piece[1:] if piece.lstrip("' \"").startswith(SIGNS) else piece)
    assert ";".join(pieces) == text


@given(st.lists(st.text(), min_size=1))
def test_a_line_of_cells_is_read_back_and_holds_no_formula_at_either_separator(texts):
    line = ",".join(map(cell, texts))
    assert next(csv.reader([line])) == [defused(text) for text in texts]
    for separator in ",;\t":
        for field in next(csv.reader([line], delimiter=separator)):
            assert not field.startswith(SIGNS)


@given(
    st.lists(st.text(st.one_of(st.sampled_from("ab1 ;,:._-=+@'\"\t\n\x7f"), st.characters(codec="utf-8")), max_size=6))
)
def test_a_plain_row_is_itself(cells):
    written = '"' + '","'.join(cells) + '"'
    assert not is_plain(cells) or ",".join(map(cell, cells)) == (written if cells else "")


def test_what_is_usual_is_plain():
    assert is_plain(["2026-11-22T09:39:00.123Z", "0000Na9B26EF003M", "Ann; Bob", "chat-1", "Refund_2", ""])
