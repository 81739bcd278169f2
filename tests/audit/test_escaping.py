"""Whatever is put into markup stays text."""

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from listener.audit.escaping import element, text

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
