"""The three forms of an answer."""

from listener.errors import HttpRefused
from listener.web import answers


def test_a_text_ends_with_a_line_end():
    response = answers.text("a\nb", status=503)
    assert (response.status, response.body, response.content_type) == (503, b"a\nb\n", "text/plain")


def test_a_refusal_says_why_in_json_with_its_headers():
    response = answers.refusal(HttpRefused(405, "method", 'allowed here: "GET"', headers={"Allow": "GET"}))
    assert (response.status, response.body) == (405, b'{"error":"allowed here: \\"GET\\""}\n')
    assert (response.headers["Allow"], response.content_type) == ("GET", "application/json")
