"""The media whose interactions have dispositions, and what tells an interaction from those of other media."""

from typing import Literal, get_args

MediaType = Literal["chat", "email", "sms", "facebook", "openmedia", "voice"]
MEDIA_TYPES: tuple[MediaType, ...] = get_args(MediaType)
CHAT: MediaType = "chat"
_OTHERS: dict[str, MediaType] = {one: one for one in MEDIA_TYPES if one != CHAT}


def identity_of(media_type: str, interaction_id: str) -> str:
    """What identifies an interaction among those of all media: `email:0001…`, and for a chat its plain id.

    It is the `subject` of an event, and what last values go by: a server may number each medium by itself.
    """
    return interaction_id if media_type == CHAT else f"{media_type}:{interaction_id}"


def media_type_of(identity: str) -> MediaType:
    """The medium of an interaction."""
    return _OTHERS.get(identity.partition(":")[0], CHAT) if ":" in identity else CHAT


def plain_id(media_type: MediaType, identity: str) -> str:
    """The id as the server has it."""
    return identity if media_type == CHAT else identity[len(media_type) + 1 :]
