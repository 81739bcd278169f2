"""A URL is told without what in it may be a secret."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from listener.runtime.urls import HIDDEN, WORDS, told


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://crm.example.com/", "https://crm.example.com"),
        (
            "https://crm.example.com:8443/api/v2/disposition-events",
            "https://crm.example.com:8443/api/v2/disposition-events",
        ),
        ("https://crm.example.com/webhooks/", "https://crm.example.com/webhooks/"),
        ("http://[::1]:80/hook", "http://[::1]:80/hook"),
        ("https://hooks.example.com/services/T0/B0/XQ", "https://hooks.example.com/services/…/…/…"),
        ("https://hooks.example.com/hooks/catch/1234567/bqkzmxa/", "https://hooks.example.com/hooks/catch/…/…/"),
        ("https://u:p@crm.example.com/hook?code=a#b", "https://…@crm.example.com/hook?…#…"),
        ("https://crm.example.com/hook/swordfish", "https://crm.example.com/hook/…"),
        ("https://crm.example.com/hook;jsessionid=1/%61pi/v123/hook-v9x", "https://crm.example.com/…/api/…/…"),
        ("/login?back=me", "/login?…"),
        ("", ""),
    ],
)
def test_the_path_is_told_as_far_as_it_is_no_secret(url: str, shown: str):
    assert told(URL(url)) == shown


def is_made_of_words(token: str) -> bool:
    shown = {*WORDS.split(), *(f"{word}s" for word in WORDS.split())}
    return all(word in shown or re.fullmatch("v[0-9]{1,2}", word) for word in re.split("[._-]", token))


def tokens(alphabet: str, least: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=64)


LOWER, BASE32 = string.ascii_lowercase, string.ascii_lowercase + "234567"
TOKENS = st.one_of(
    tokens(LOWER, 9),
    tokens(BASE32, 8),
    tokens(LOWER + string.digits, 7),
    tokens("0123456789abcdef", 6),
    tokens(string.ascii_letters + string.digits, 7),
    tokens(string.ascii_letters + string.digits + "-_", 7),
    st.uuids().map(str),
    st.lists(tokens(LOWER, 3), min_size=3, max_size=6).map("-".join),
).filter(lambda token: not is_made_of_words(token))


@given(TOKENS, TOKENS)
def test_no_token_of_any_kind_is_told(first: str, second: str):
    url = URL(f"https://{first}:{second}@crm.example.com/hooks/{first}/v1/{second}?{first}={second}#{first}")
    assert told(url) == f"https://…@crm.example.com/hooks/{HIDDEN}/v1/{HIDDEN}?…#…"


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_whatever_comes_is_told_in_printable_words(path: str, query: str, fragment: str):
    url = URL.build(scheme="https", host="crm.example.com", path=f"/{path}", query_string=query, fragment=fragment)
    shown = told(url)
    assert shown.startswith("https://crm.example.com")
    assert shown.isprintable()
    assert set(shown) <= {*string.ascii_lowercase, *string.digits, *":/._-?#", HIDDEN}
