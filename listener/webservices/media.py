"""What Web Services has for each medium: topic, messages, container, resource, operation. All of it in one table."""

from collections.abc import Mapping
from typing import Any

import msgspec

from listener.errors import ParameterMissing
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
        channel: what a contact-center session calls it; None where nobody has documented that.
        tells_after_end: whether what becomes of an interaction that has ended is notified too.
        is_documented: whether the topic and the messages are. If not, that something was not told proves nothing.
    """

    name: MediaType
    topic: str
    message_types: tuple[str, ...]
    properties: str = "PropertiesUpdated"
    container: str
    resource: str
    operation: str = _SET_DISPOSITION
    channel: str | None = None
    tells_after_end: bool = True
    is_documented: bool = True

    @property
    def limit(self) -> str | None:
        """What the API cannot tell, in words; None for nothing."""
        if not self.tells_after_end:
            return "a code that is set after the release is notified to nobody, and cannot be heard"
        return None if self.is_documented else _INFERRED


_INFERRED = "its topic or its messages are not documented, and inferred from other names: try it once"

_TABLE = (
    Medium(  # Chat API, SetDisposition
        name="chat",
        topic="/v2/me/chats",
        message_types=("ChatStateChangeMessage",),
        container="chat",
        resource="chats",
        channel="chat",
    ),
    Medium(  # Email API, SetDisposition: all userData, and no participants
        name="email",
        topic="/v2/me/emails",
        message_types=("EmailStateChangeMessage",),
        container="email",
        resource="emails",
        channel="email",
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
        channel="voice",
        tells_after_end=False,
    ),
)

MEDIA: Mapping[MediaType, Medium] = {one.name: one for one in _TABLE}
"""By name, in the order of `model.media.MEDIA_TYPES`."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a disposition is set on, and what some media want to know besides its id.

    Attributes:
        media_type: its medium.
        open_media_type: what the site calls the kind of open media; a part of its path.
        call_uri: of a call; optional.
        call_uuid: likewise.
    """

    media_type: MediaType = "chat"
    open_media_type: str | None = None
    call_uri: str | None = None
    call_uuid: str | None = None

    def request(self, interaction_id: str, disposition: str, key: str | None) -> tuple[list[str], dict[str, Any]]:
        """The steps of the path below `/api/v2/me`, and the body. Raises ParameterMissing."""
        medium = MEDIA[self.media_type]
        steps = [medium.resource, interaction_id]
        if not interaction_id:
            raise ParameterMissing(f"the {self.media_type} id is empty")
        if medium.name == "openmedia":
            if not self.open_media_type:
                raise ParameterMissing("open media is named by its media type too")
            steps.insert(1, self.open_media_type)
        if medium.operation == _UPDATE_USER_DATA:
            if key is None:
                raise ParameterMissing(f"a disposition of {medium.name} needs its key: it is set as user data")
            return steps, {"operationName": medium.operation, "userData": {key: disposition}}
        named = {"callUri": self.call_uri, "callUuid": self.call_uuid, "dispositionKey": key}
        given = {name: value for name, value in named.items() if value is not None}
        return steps, {"operationName": medium.operation, **given, "disposition": disposition}


A_CHAT = Target()
"""What has nothing but an id."""
