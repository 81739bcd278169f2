"""The table of media: each medium's documented notification, and anything else that may stand in its place."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.model.media import MEDIA_TYPES
from listener.webservices.media import MEDIA
from listener.webservices.notifications import NotificationDecoder
from support.notifications import CONTAINERS, INTERACTIONS, encoded, interaction

KEY = "DispositionCode"
EVERY = NotificationDecoder(keys=(KEY, "DISP_KEY"), media=MEDIA_TYPES)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | texts
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
media = st.sampled_from(MEDIA_TYPES)


def decoded(*messages, using=EVERY):
    return using.decode([encoded(one) for one in messages], account="agent1", received_ms=1_795_340_340_123)


def only(message, using=EVERY):
    (heard,) = decoded(message, using=using).observations
    return heard


def test_the_table_has_every_medium_and_nothing_stands_for_two():
    assert tuple(MEDIA) == MEDIA_TYPES
    assert {name: one.container for name, one in MEDIA.items()} == CONTAINERS
    for column in ("topic", "container", "resource"):
        assert len({getattr(one, column) for one in MEDIA.values()}) == len(MEDIA_TYPES)
    types = [message_type for one in MEDIA.values() for message_type in one.message_types]
    assert len(set(types)) == len(types)


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_the_sample_of_each_medium_is_one_observation(media_type):
    sample = INTERACTIONS[media_type]
    inside = sample[CONTAINERS[media_type]]
    heard = only(sample)
    identity = inside["id"] if media_type == "chat" else f"{media_type}:{inside['id']}"
    assert (heard.media_type, heard.chat_id, heard.value) == (media_type, identity, "IssueResolved")
    assert (heard.chat_state, heard.chat_uri) == (inside["state"], inside.get("uri"))
    assert heard.reference_id == sample.get("referenceId")
    for message_type in MEDIA[media_type].message_types:
        assert only(sample | {"messageType": message_type}).chat_id == identity


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_what_is_not_configured_is_filtered(media_type):
    others = NotificationDecoder(keys=(KEY,), media=[one for one in MEDIA_TYPES if one != media_type])
    taken = decoded(*INTERACTIONS.values(), using=others)
    assert (taken.forwarded, dict(taken.filtered)) == (5, {"message_type": 1})


@settings(max_examples=40)
@given(media, st.dictionaries(st.sampled_from([KEY, "DISP_KEY", "Other"]), anything, max_size=3), anything)
def test_user_data_says_the_same_in_every_medium_as_in_a_chat(media_type, data, extra):
    """A damaged field beside it takes both by the slow road."""
    told = decoded(interaction(media_type, within={"userData": data}, referenceId=extra))
    chat = decoded(interaction("chat", within={"userData": data}, referenceId=extra))
    said = [[(one.key, one.value, one.reference_id) for one in taken.observations] for taken in (told, chat)]
    assert said[0] == said[1]
    counts = [(taken.forwarded, taken.filtered, taken.refused, +taken.malformed) for taken in (told, chat)]
    assert counts[0] == counts[1]


@settings(max_examples=30)
@given(
    st.lists(st.tuples(media, anything, st.sampled_from(["PropertiesUpdated", "AttachedDataChanged", "StatusChange"])))
)
def test_whatever_stands_in_a_container_is_counted_once(things):
    messages = [
        INTERACTIONS[media_type] | {CONTAINERS[media_type]: thing, "notificationType": kind}
        for media_type, thing, kind in things
    ]
    taken = decoded(*messages)
    assert len(messages) == taken.forwarded + taken.filtered.total() + taken.refused.total()


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_an_interaction_may_arrive_with_a_code(media_type):
    heard = only(interaction(media_type, notificationType="StatusChange"))
    assert (heard.prime, heard.value) == (True, "IssueResolved")


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_an_interaction_that_was_read_says_what_its_notification_says(media_type):
    sample = INTERACTIONS[media_type][CONTAINERS[media_type]]
    for inside in (sample, sample | {"state": 3}):
        taken = EVERY.decode_read([encoded(inside)], account="agent1", received_ms=1, media_type=media_type)
        (read,) = taken.observations
        assert (read.chat_id, read.media_type) == (only(INTERACTIONS[media_type]).chat_id, media_type)
        assert taken.chats == [read.chat_id]


def test_a_caller_s_number_goes_out_only_where_customers_may():
    for choice, known in (("agents", []), ("none", []), ("all", ["+41445550123"])):
        using = NotificationDecoder(keys=(KEY,), media=("voice",), participants=choice)
        for sample in (INTERACTIONS["voice"], interaction("voice", referenceId="x")):
            parties = only(sample, using).participants
            assert [msgspec.to_builtins(one)["phoneNumber"] for one in parties] == known


def test_a_chat_s_participants_have_no_number_whatever_the_server_writes():
    using = NotificationDecoder(keys=(KEY,), media=MEDIA_TYPES, participants="all")
    parties = [{"nickname": "Kim", "type": "Customer", "phoneNumber": "+41445550123"}]
    (party,) = only(interaction("chat", within={"participants": parties}), using).participants
    assert "phoneNumber" not in msgspec.to_builtins(party)
