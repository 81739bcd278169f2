"""What Web Services has for each medium: topic, messages, container, resource, operation. All of it in one table."""

from collections.abc import Mapping

import msgspec

from listener.model.media import MediaType

_SET_DISPOSITION = "SetDisposition"
_UPDATE_USER_DATA = "UpdateUserData"


class Medium(msgspec.Struct, frozen=True, kw_only=True):
    """One medium.

    Attributes:
        name: as in the configuration and in events.
        topic: the channel on which an agent hears of their own interactions.
        message_types: `messageType` of its notifications; several where the documentation does not tell.
        properties: the `notificationType` that carries `userData`.
        container: the member of a notification that holds the interaction.
        resource: below `/api/v2/me`, for operations; also the name of the subresource to read.
        operation: what sets a disposition; with UpdateUserData it is a key of the user data.
        is_documented: whether the topic and the messages are. If not, that something was not told proves nothing.
    """

    name: MediaType
    topic: str
    message_types: tuple[str, ...]
    properties: str = "PropertiesUpdated"
    container: str
    resource: str
    operation: str = _SET_DISPOSITION
    is_documented: bool = True

    @property
    def needs_key(self) -> bool:
        """Whether a disposition can only be set under a key that is named."""
        return self.operation == _UPDATE_USER_DATA


_TABLE = (
    Medium(  # Chat API, SetDisposition
        name="chat",
        topic="/v2/me/chats",
        message_types=("ChatStateChangeMessage",),
        container="chat",
        resource="chats",
    ),
    Medium(  # Email API, SetDisposition: all userData, and no participants
        name="email",
        topic="/v2/me/emails",
        message_types=("EmailStateChangeMessage",),
        container="email",
        resource="emails",
    ),
    # SMS Session API, UpdateUserData: container and resource are documented, there is no SetDisposition. The topic is
    # inferred from the resource, the spellings of the message type from the container and from Facebook's.
    Medium(
        name="sms",
        topic="/v2/me/smssessions",
        message_types=("SmssessionStateChangeMessage", "SmsSessionStateChangeMessage", "SMSSessionStateChangeMessage"),
        container="smssession",
        resource="smssessions",
        operation=_UPDATE_USER_DATA,
        is_documented=False,
    ),
    # Facebook Private Messaging API, SetDisposition: `facebooksession` in the resource of the first edition, plural in
    # the last. The topic is inferred from the resource.
    Medium(
        name="facebook",
        topic="/v2/me/facebooksessions",
        message_types=("FacebooksessionStateChangeMessage", "FacebookSessionStateChangeMessage"),
        container="facebooksession",
        resource="facebooksessions",
        is_documented=False,
    ),
    # Open Media API: topic and resource are documented. Message type and container are those that public clients take;
    # there is no SetDisposition. Its resource goes on with the media type of the site: /openmedia/{mediaType}/{id}.
    Medium(
        name="openmedia",
        topic="/v2/me/openmedia",
        message_types=("OpenMediaStateChangeMessage", "OpenmediaStateChangeMessage"),
        container="openmedia",
        resource="openmedia",
        operation=_UPDATE_USER_DATA,
        is_documented=False,
    ),
    # Voice API, SetCallDisposition. Once the call is released nothing is notified.
    Medium(
        name="voice",
        topic="/v2/me/calls",
        message_types=("CallStateChangeMessage",),
        properties="AttachedDataChanged",
        container="call",
        resource="calls",
        operation="SetCallDisposition",
    ),
)

MEDIA: Mapping[MediaType, Medium] = {one.name: one for one in _TABLE}
"""By name, in the order of `model.media.MEDIA_TYPES`."""
