"""The words of a reply, as servers of every kind write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.cometd.messages import Message
from listener.cometd.replies import (
    batch_number,
    error_code,
    is_number,
    names_unknown_client,
    truth,
    understood,
    wrong_with,
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
)


@pytest.mark.parametrize(
    ("value", "said"),
    [(True, True), ("true", True), ("TRUE", True), (1, True), (False, False), ("false", False), (0, False)]
    + [(value, None) for value in (None, "yes", 2, 1.5, [True], {})],
)
def test_a_boolean_may_be_written_in_several_ways(value, said):
    assert truth(value) is said


@settings(max_examples=40)
@given(anything)
def test_of_an_advice_only_what_bayeux_defines_is_kept(value):
    advice = {"reconnect": value, "interval": value, "timeout": value, "hosts": value}
    kept = understood(advice)
    assert "hosts" not in kept
    assert all(is_number(one) or one in ("retry", "handshake", "none") for one in kept.values())
    assert understood(value if not isinstance(value, dict) else None) == {}


@pytest.mark.parametrize(
    ("value", "is_one"), [("c1", True), ("x" * 1024, True), ("é" * 513, False), ("", False), (7, False)]
)
def test_a_client_id_is_a_text_of_a_bounded_length(value, is_one):
    assert (wrong_with(value) == "") is is_one


@pytest.mark.parametrize("value", [True, None, 1.0, "1", 2**63, -(2**63) - 1])
def test_what_is_no_java_long_numbers_no_batch(value):
    assert batch_number(value) is None
    assert batch_number(2**63 - 1) == 2**63 - 1


@pytest.mark.parametrize(
    ("error", "code", "is_unknown"),
    [
        ("402::Unknown client", "402", True),
        ("401:c1:Unknown client", "401", True),
        ("403::Unknown client", "403", True),
        ("403::Subscribe denied", "403", False),
        ("denied", "denied", False),
        (None, "", False),
        (["402"], "", False),
    ],
)
def test_an_error_names_its_code_and_an_unknown_client(error, code, is_unknown):
    reply = Message(channel="/meta/connect", error=error)
    assert (error_code(reply), names_unknown_client(reply)) == (code, is_unknown)
