"""Whatever is put into markup or a sheet stays text."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audit.escaping import defused, element, text

ANY = st.text(st.characters(codec=None))


@given(value=ANY, name=ANY)
def test_any_text_can_stand_between_tags_and_in_attributes(value, name):
    parsed = ET.fromstring(element("a", text(value), b=name))  # noqa: S314 - it is ours
    assert (parsed.tag, list(parsed), list(parsed.attrib)) == ("a", [], ["b"])
    shown = (parsed.text or "") + parsed.attrib["b"]
    assert shown.isprintable()


def test_what_is_printable_comes_back_and_the_rest_can_be_seen():
    assert ET.fromstring(element("a", text("<b>&\"' né"))).text == "<b>&\"' né"  # noqa: S314 - it is ours
    assert text("a\nb\x1b\u202e") == "a\\nb\\x1b\\u202e"


def test_attributes_are_named_as_html_names_them_and_may_be_left_out():
    assert element("a", class_="b", aria_label="c", d=None) == '<a class="b" aria-label="c"></a>'


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
    ],
)
def test_what_would_be_a_formula_is_text(text, field):
    assert defused(text) == field


@given(st.text(st.characters(exclude_categories=("C", "Z"))))
def test_leaving_one_quote_out_gives_the_text_back(text):
    field = defused(text)
    assert not field.startswith(("=", "+", "-", "@"))
    quoted = field.startswith("'") and field.lstrip("'").startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))  # noqa: RUF001 - as the code has them
    assert (field[1:] if quoted else field) == text
