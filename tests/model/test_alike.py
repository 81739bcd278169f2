"""What is counted together, and what is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.model.alike import alike

WORDS = st.text(alphabet=st.characters(codec="ascii", categories=["Lu", "Ll"]), min_size=1, max_size=8)
NAMES = st.from_regex(r"[a-z]{2,6}[0-9]{1,3}(@x\.org)?", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("login: HTTP 401: who is agent1?", "login: HTTP 401: who is …?"),
        ("statusCode 20, HTTP 403", "statusCode 20, HTTP 403"),
        ("network: cannot connect to 127.0.0.1:8443", "network: cannot connect to 127.0.0.1…"),
        ("network: [::1]:8443 refused", "network: [::1]… refused"),
        ("no answer within 12.5 s, 3 more", "no answer within … s, 3 more"),
        ("a body of 1048577 bytes", "a body of … bytes"),
        ("at 2026-11-22T09:39:00.123Z", "at …"),
        ("session 1a2b3c4d-5e6f-4a1b-8c2d-0123456789ab is unknown", "session … is unknown"),
        ("agent12 is not agent1's, agent1!", "agent12 is not …'s, …!"),
        ("404: agent1", "404: …"),
    ],
)
def test_what_differs_from_case_to_case_is_taken_out(text: str, expected: str):
    assert alike(text, "agent1") == expected


@settings(max_examples=50)
@given(st.lists(WORDS, min_size=1, max_size=5), NAMES, NAMES, st.integers(1024, 65_535), st.integers(1024, 65_535))
def test_equal_causes_have_equal_texts(words: list[str], one: str, other: str, port: int, next_port: int):
    def told(name: str, port: int, seconds: int) -> str:
        return f"{' '.join(words)} of {name} at gws.example:{port} after {seconds} s"

    assert alike(told(one, port, port), one) == alike(told(other, next_port, next_port), other)


@settings(max_examples=40)
@given(st.sampled_from([401, 403, 404, 500, 502, 503]), st.sampled_from([401, 403, 404, 500, 502, 503]), NAMES)
def test_statuses_tell_causes_apart(one: int, other: int, name: str):
    told = [alike(f"login: HTTP {status} for {name}", name) for status in (one, other)]
    assert (told[0] == told[1]) == (one == other)


@given(st.text(max_size=60), st.text(max_size=8))
def test_what_is_alike_stays_so(text: str, name: str):
    once = alike(text, name)
    assert alike(once, "") == alike(once, "…")
