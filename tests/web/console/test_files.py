"""The files of the page, read as they are: none is loaded late or in vain, and no text becomes markup."""

import re
from importlib.resources import files

import pytest

FOLDER = files("listener") / "web" / "console"
TEXTS = {item.name: item.read_text(encoding="utf-8") for item in FOLDER.iterdir()}
MODULES = {name for name in TEXTS if name.endswith(".js")}
INDEX = TEXTS["index.html"]


def test_every_module_is_asked_for_with_the_page():
    """Otherwise each one is asked for when the one that imports it has come: five times the way to the daemon."""
    assert {*re.findall(r'modulepreload" href="/console/([a-z]+\.js)"', INDEX)} == MODULES - {"main.js"}
    assert 'src="/console/main.js"' in INDEX


def test_every_module_is_imported_and_each_import_leads_to_one():
    imported = {name for text in TEXTS.values() for name in re.findall(r'from "\./([a-z]+\.js)"', text)}
    assert imported == MODULES - {"main.js"}


def test_each_element_that_is_asked_for_by_its_id_is_there_and_has_it_alone():
    ids = re.findall(r' id="([^"]+)"', INDEX)
    assert len(ids) == len(set(ids))
    asked = {name for text in TEXTS.values() for name in re.findall(r'\bby\("([^"]+)"\)', text)}
    assert asked - set(ids) == set()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_text_becomes_markup_and_no_style_is_inline(name: str):
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|DOMParser", TEXTS[name]) == []
    assert re.findall(r'\bstyle: |setAttribute\("style|<style| on[a-z]+="', TEXTS[name]) == []


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere():
    assert re.findall(r"<style| style=| on[a-z]+=|<script(?![^>]* src=)", INDEX) == []
    assert {*re.findall(r'(?:src|href)="(?!#)([^"/]*/[a-z]*)', INDEX)} == {"/console"}
    assert re.findall(r"url\((?!#)|@import|https?://", TEXTS["console.css"]) == []
