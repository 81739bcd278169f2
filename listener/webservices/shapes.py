"""The wire shapes of a notification, compiled for the media and the fields that the configuration wants."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, defstruct

from listener.model.event import CallParticipant, Participant
from listener.model.media import CHAT
from listener.webservices.media import MEDIA, Medium

Text = Annotated[str, Meta(max_length=1024)]
ChatId = Annotated[str, Meta(min_length=1, max_length=256)]
ReferenceId = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
EpochMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]  # the end of year 9999, where RFC 3339 ends
Participants = Annotated[tuple[Participant, ...], Meta(max_length=256)]
CallParticipants = Annotated[tuple[CallParticipant, ...], Meta(max_length=256)]

JSON_NAMES = {
    "user_data": "userData",
    "message_type": "messageType",
    "notification_type": "notificationType",
    "reference_id": "referenceId",
}


class EventProcessing(Struct, frozen=True, gc=False, rename="camel"):
    """`metrics.eventProcessing`: the only server time there is."""

    server_generation_timestamp: EpochMs | None = None


class Metrics(Struct, frozen=True, gc=False, rename="camel"):
    """`metrics` beside the chat."""

    event_processing: EventProcessing | None = None


class Container(Struct, frozen=True, kw_only=True):
    """What holds an interaction: its strict type and its loose one (see `Shapes`), and what accompanies a disposition.

    `participant` is what a party of it looks like.
    """

    strict: Any
    loose: Any
    accompanying: dict[str, Any]
    participant: type[Participant]


class Shapes:
    """Two sets of types for one notification.

    `note` and the strict containers are strict: a field of a wrong type fails the whole decode, which costs nothing
    while all is well. The loose ones name the same fields and leave each one as it came, so that one wrong field can be
    told from the others. The types are made per configuration, so that msgspec steps over the fifty other keys of
    userData without making anything of them. Of a key that stands twice in one object, both take the last.

    The structs are not tracked by the garbage collector: decoded JSON holds no cycles.

    Attributes:
        containers: by the member of a notification that they are; a chat is always among them.
        keys: (name in userData, attribute of `user_data`) of each disposition key.
        extras: the same for the allow-listed keys; their attributes hold `Raw`, or text where a key is in both.
    """

    def __init__(
        self,
        *,
        keys: Sequence[str],
        user_data: Sequence[str],
        participants: bool,
        max_value_chars: int,
        media: Iterable[Medium] = (),
    ) -> None:
        attributes = {name: f"field{i}" for i, name in enumerate(dict.fromkeys((*keys, *user_data)))}
        self.keys = tuple((name, attributes[name]) for name in dict.fromkeys(keys))
        self.extras = tuple((name, attributes[name]) for name in dict.fromkeys(user_data))
        value = Annotated[str, Meta(max_length=max_value_chars)] | None | UnsetType
        wanted = {a: value if name in keys else Raw | UnsetType for name, a in attributes.items()}
        renamed = {attribute: name for name, attribute in attributes.items()}
        self.user_data = _struct("UserData", wanted, renamed)
        self.loose_user_data = _struct("LooseUserData", dict.fromkeys(wanted, Raw | UnsetType), renamed)

        chat = self._container(Participant, Participants if participants else None)
        call = self._container(CallParticipant, CallParticipants if participants else None)
        self.containers = {one.container: call if one.name == "voice" else chat for one in (MEDIA[CHAT], *media)}
        self.accompanying = {"reference_id": ReferenceId | None, "metrics": Metrics | None}
        head: dict[str, Any] = {"message_type": str, "notification_type": str}
        body = {**{name: one.strict | None for name, one in self.containers.items()}, **self.accompanying}
        self.note = _struct("Note", {**head, **body}, JSON_NAMES)
        self.loose_note = _struct("LooseNote", dict.fromkeys((*head, *body), Raw | UnsetType), JSON_NAMES)

    def _container(self, participant: type[Participant], participants: Any) -> Container:
        accompanying: dict[str, Any] = {"state": Text | None, "uri": Text | None}
        if participants is not None:
            accompanying["participants"] = participants | None
        fields = {"user_data": self.user_data | None, **accompanying}
        return Container(
            strict=_struct("Interaction", fields, JSON_NAMES, id=ChatId),
            loose=_struct("LooseInteraction", dict.fromkeys(("id", *fields), Raw | UnsetType), JSON_NAMES),
            accompanying=accompanying,
            participant=participant,
        )


def _struct(name: str, optional: dict[str, Any], renamed: dict[str, str], **required: Any) -> Any:
    """A keyword-only struct; what is missing of `optional` is None, or UNSET where the type knows it."""
    fields: list[Any] = [
        *required.items(),
        *((attribute, kind, _default(kind)) for attribute, kind in optional.items()),
    ]
    return defstruct(name, fields, rename=renamed, kw_only=True, gc=False)


def _default(kind: Any) -> Any:
    """UNSET for the types that tell absence from null, "" for a plain `str`, else None."""
    if UnsetType in getattr(kind, "__args__", ()):
        return UNSET
    return "" if kind is str else None
