"""What tells an interaction from those of other media."""

import pytest

from listener.model.media import MEDIA_TYPES, identity_of, media_type_of, plain_id


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize("interaction_id", ["0000Na9B26EF003M", "a:b", "é/ü?"])
def test_an_identity_tells_the_medium_and_the_id(media_type, interaction_id):
    identity = identity_of(media_type, interaction_id)
    assert (media_type_of(identity), plain_id(media_type, identity)) == (media_type, interaction_id)


def test_the_same_id_in_two_media_is_two_interactions_and_a_chat_is_its_id():
    assert len({identity_of(one, "0000Na9B26EF003M") for one in MEDIA_TYPES}) == len(MEDIA_TYPES)
    assert identity_of("chat", "0000Na9B26EF003M") == "0000Na9B26EF003M"
