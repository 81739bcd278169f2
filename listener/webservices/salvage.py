"""The slow way to decode a notification: finds what is wrong, and keeps what is usable."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from listener.errors import UNDECODABLE, NotificationRefused
from listener.model.event import Participant
from listener.webservices.media import Medium
from listener.webservices.shapes import JSON_NAMES, ChatId, Container, Shapes

_NULL = b"null"
_ESCAPES = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)
_PARTICIPANT_FIELD = "participants"


class Salvage:
    """Decodes field by field into the strict shapes.

    What only accompanies a disposition (state, uri, participants, referenceId, metrics) becomes null or empty when it
    is unusable and is counted by field. Of several disposition keys the usable ones are kept, the
    others count under `disposition`. Without anything to forward, NotificationRefused names the reason:
    `malformed_json`, `not_an_object`, `too_deep`, `wrong_type` (a field that decides what the notification is),
    `no_chat_id`, `value_not_scalar`, `value_too_long`, `malformed_text` (a lone surrogate, bytes that are no UTF-8).
    """

    def __init__(self, shapes: Shapes, *, media: Mapping[str, Medium], max_value_chars: int) -> None:
        self._shapes = shapes
        self._media = media  # by `messageType`
        self._max_value_chars = max_value_chars

    def note(self, payload: Raw | bytes) -> tuple[Any, Counter[str]]:
        """The notification in the shape `Shapes.note`, and the malformed fields."""
        malformed: Counter[str] = Counter()
        loose = _open(self._shapes.loose_note, payload)
        note = self._shapes.note(message_type=_need(loose.message_type, str, ""))
        medium = self._media.get(note.message_type)
        if medium is None:
            return note, malformed
        note.notification_type = _need(loose.notification_type, str, "")
        told, shape = getattr(loose, medium.container), self._shapes.containers[medium.container]
        if note.notification_type == medium.properties and _present(told):
            setattr(note, medium.container, self._interaction(_need(told, shape.loose, None), shape, malformed))
            self._accompany(note, loose, self._shapes.accompanying, malformed)
        return note, malformed

    def interaction(self, payload: Raw | bytes, container: str) -> tuple[Any, Counter[str]]:
        """One of those that were read again, in its strict shape, and the malformed fields."""
        malformed: Counter[str] = Counter()
        shape = self._shapes.containers[container]
        return self._interaction(_open(shape.loose, payload), shape, malformed), malformed

    def _interaction(self, loose: Any, shape: Container, malformed: Counter[str]) -> Any:
        data = None
        if _present(loose.user_data):
            data = _need(loose.user_data, self._shapes.loose_user_data, None)
        if data is None or all(getattr(data, attribute) is UNSET for _, attribute in self._shapes.keys):
            return shape.strict(id=_text(loose.id, ChatId) or "", user_data=None)
        found = shape.strict(id=_chat_id(loose.id), user_data=self._values(data, malformed))
        self._accompany(found, loose, shape.accompanying, malformed, participant=shape.participant)
        return found

    def _values(self, loose: Any, malformed: Counter[str]) -> Any:
        """`loose` as `Shapes.user_data`. Raises the first key's reason if no key is usable."""
        data = self._shapes.user_data()
        for _, attribute in self._shapes.extras:
            setattr(data, attribute, getattr(loose, attribute))
        refusals = []
        for _, attribute in self._shapes.keys:
            value = getattr(loose, attribute)
            try:
                setattr(data, attribute, value if value is UNSET else self._scalar(value))
            except NotificationRefused as exc:
                setattr(data, attribute, UNSET)
                refusals.append(exc)
        if all(getattr(data, attribute) is UNSET for _, attribute in self._shapes.keys):
            raise refusals[0]
        malformed["disposition"] += len(refusals)
        return data

    def _scalar(self, raw: Raw) -> str | None:
        """Text as it is, numbers and bools as the JSON text of the value, null as None."""
        json = bytes(raw)
        if json.startswith((b"{", b"[")):
            raise NotificationRefused("value_not_scalar", "the disposition is an object or an array")
        if json == _NULL:
            return None
        value = _text(raw) if json.startswith(b'"') else json.decode("ascii")
        if value is None:
            raise NotificationRefused("malformed_text", "the disposition is not Unicode text")
        if len(value) > self._max_value_chars:
            raise NotificationRefused("value_too_long", f"the disposition has {len(value)} characters")
        return value

    def _accompany(
        self,
        target: Any,
        loose: Any,
        kinds: dict[str, Any],
        malformed: Counter[str],
        *,
        participant: type[Participant] = Participant,
    ) -> None:
        for field, kind in kinds.items():
            raw = getattr(loose, field)
            if raw is UNSET:
                continue
            try:
                setattr(target, field, msgspec.json.decode(raw, type=kind))
            except UNDECODABLE:
                malformed[JSON_NAMES.get(field, field)] += 1
                if field == _PARTICIPANT_FIELD:
                    target.participants = _usable_participants(raw, participant)


def _open(shape: Any, payload: Raw | bytes) -> Any:
    """The outermost object of `payload`, its fields undecoded."""
    try:
        return _decode_object(shape, payload)
    except msgspec.ValidationError as exc:
        raise NotificationRefused("not_an_object", str(exc)) from exc
    except RecursionError as exc:
        raise NotificationRefused("too_deep", str(exc)) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise NotificationRefused("malformed_json", str(exc)) from exc


def _decode_object(shape: Any, payload: Raw | bytes) -> Any:
    """Decode, if need be without lone surrogates.

    Half of a surrogate pair is valid by the grammar of RFC 8259, section 8.2, but no character: servers write it where
    they cut a name in the middle of an emoji. It becomes a byte that is no UTF-8, and spoils only the field it is in.
    """
    try:
        return msgspec.json.decode(payload, type=shape)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = _ESCAPES.sub(lambda m: b"\xff" if m[1] else m[0], bytes(payload))
        return msgspec.json.decode(mended, type=shape)


def _present(raw: Raw | UnsetType) -> bool:
    return raw is not UNSET and bytes(raw) != _NULL


def _need(raw: Raw | UnsetType, kind: Any, absent: Any) -> Any:
    """A field that decides what the notification is."""
    if raw is UNSET:
        return absent
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNDECODABLE as exc:
        raise NotificationRefused("wrong_type", str(exc)) from exc


def _chat_id(raw: Raw | UnsetType) -> str:
    try:
        return msgspec.json.decode(b"" if raw is UNSET else raw, type=ChatId)
    except UNDECODABLE as exc:
        raise NotificationRefused("no_chat_id", str(exc)) from exc


def _text(raw: Raw | UnsetType, kind: Any = str) -> str | None:
    try:
        return None if raw is UNSET else msgspec.json.decode(raw, type=kind)
    except UNDECODABLE:
        return None


def _usable_participants(raw: Raw, kind: type[Participant]) -> tuple[Participant, ...]:
    """Those of a list that are participants; one spoilt nickname does not hide the agent beside it."""
    try:
        elements = msgspec.json.decode(raw, type=list[Raw])[:256]
    except UNDECODABLE:
        return ()
    return tuple(p for p in (_participant(one, kind) for one in elements) if p is not None)


def _participant(raw: Raw, kind: type[Participant]) -> Participant | None:
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNDECODABLE:
        return None
