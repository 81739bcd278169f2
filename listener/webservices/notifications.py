"""Decodes the notifications of a batch into observations: typed decode, filter, extraction, each message by itself."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw

from listener.errors import UNDECODABLE, NotificationRefused
from listener.model.event import Observation, Origin, Participant
from listener.model.media import CHAT, MediaType, identity_of
from listener.webservices.media import MEDIA, Medium
from listener.webservices.salvage import Salvage
from listener.webservices.shapes import Shapes

AGENT = "Agent"
STATUS_CHANGE = "StatusChange"
_ENDED = ("Completed", "Revoked", "JoinFailed", "Released")
_CHAT = MEDIA[CHAT]
(_CHAT_MESSAGE,) = _CHAT.message_types
DIGEST_BYTES = 16
MAX_DEPTH = 32  # of an allow-listed value: readers further down have stacks too


# A poll has several, and `Counter()` takes a microsecond to find that it is empty.
_nothing_counted: Callable[[], Counter[str]] = partial(Counter.__new__, Counter)


class DecodedBatch(msgspec.Struct, kw_only=True):
    """The observations of one batch.

    Every payload is counted once: `len(payloads) == forwarded + sum(filtered) + sum(refused)`.

    Attributes:
        observations: one per configured key found, in the order of the payloads and of the configuration.
        forwarded: payloads that gave at least one observation.
        filtered: payloads that are none of ours, by reason: `message_type`, `notification_type`, `no_chat`, `no_key`
            (and `repeated`, see `repeats.Repeats`).
        refused: payloads that cannot be used, by reason (see `salvage.Salvage`).
        malformed: unusable fields of forwarded payloads, by field.
        chats: those interactions, of any medium, of which something else than a disposition was told; of those that
            were read, those that have not ended.
        told: the values that came along with these, by interaction and key.
        ended: those of `chats` that were told to have ended for the account, and not to be back.
    """

    observations: list[Observation] = msgspec.field(default_factory=list)
    forwarded: int = 0
    filtered: Counter[str] = msgspec.field(default_factory=_nothing_counted)
    refused: Counter[str] = msgspec.field(default_factory=_nothing_counted)
    malformed: Counter[str] = msgspec.field(default_factory=_nothing_counted)
    chats: list[str] = msgspec.field(default_factory=list)
    told: dict[tuple[str, str], str | None] = msgspec.field(default_factory=dict)
    ended: set[str] = msgspec.field(default_factory=set)


class _Batch:
    """What all payloads of one call have in common, and where they go."""

    __slots__ = ("account", "decoded", "hash", "observe", "origin", "received_ms")

    def __init__(self, account: str, received_ms: int, origin: Origin, hash_: blake2b) -> None:
        self.account = account
        self.received_ms = received_ms
        self.origin = origin
        self.hash = hash_
        self.decoded = DecodedBatch()
        self.observe = self.decoded.observations.append


class NotificationDecoder:
    """Extracts the configured disposition keys from notifications. Never raises, whatever a server sends.

    Of a chat only a `ChatStateChangeMessage` with `notificationType` `PropertiesUpdated` is taken: it carries
    `chat.userData` (Web Services, Chat API); of other media what `media.MEDIA` says. What a `StatusChange` carries is
    observed with `prime`: an interaction may arrive with a code.
    A key that is present and null or empty is observed as None: cleared. A key that is absent says nothing. Numbers and
    bools are taken as their JSON text.

    Args:
        keys: the userData keys that hold a disposition.
        user_data: the further userData keys that may leave the process; nothing else of userData does.
        participants: whose names go along; the numbers of callers only with `all`.
        media: what is listened to.
        max_value_chars: longest disposition in characters, and longest allow-listed value in bytes of JSON.
    """

    def __init__(
        self,
        *,
        keys: tuple[str, ...],
        user_data: tuple[str, ...] = (),
        participants: Literal["agents", "all", "none"] = "agents",
        media: Sequence[MediaType] = (CHAT,),
        max_value_chars: int = 4096,
    ) -> None:
        wanted = [MEDIA[name] for name in media]
        self._media = {message_type: one for one in wanted for message_type in one.message_types}
        shapes = Shapes(
            keys=keys,
            user_data=user_data,
            participants=participants != "none",
            max_value_chars=max_value_chars,
            media=wanted,
        )
        self._chat_message = _CHAT_MESSAGE if _CHAT in wanted else None
        self._keys = shapes.keys
        self._extras = shapes.extras
        self._strict_note = msgspec.json.Decoder(shapes.note).decode
        self._strict = {name: msgspec.json.Decoder(one.strict).decode for name, one in shapes.containers.items()}
        self._no_note = shapes.note()  # a chat that was read is no notification: no referenceId, no server time
        self._salvage = Salvage(shapes, media=self._media, max_value_chars=max_value_chars)
        self._participants = {"agents": _agents, "all": _everyone, "none": _nobody}[participants]
        self._max_value_bytes = max_value_chars

    def decode(self, payloads: Sequence[Raw | bytes], *, account: str, received_ms: int) -> DecodedBatch:
        """What the `data` values of one batch say. `received_ms` is the batch's arrival, epoch milliseconds."""
        return _each(payloads, self._take_note, _Batch(account, received_ms, Origin.NOTIFICATION, _known_hash(account)))

    def decode_read(
        self, payloads: Sequence[Raw | bytes], *, account: str, received_ms: int, media_type: MediaType = CHAT
    ) -> DecodedBatch:
        """What the interactions of `GET me?subresources=…` say now; the observations' origin is `reconciled`."""
        # The same snapshot read at another moment is another find, so the moment is part of what identifies it.
        batch = _Batch(account, received_ms, Origin.RECONCILED, _hash(account, str(received_ms)))
        return _each(payloads, partial(self._take_read, MEDIA[media_type]), batch)

    def _take_note(self, payload: Raw | bytes, batch: _Batch) -> str:
        """Add the observations of one notification; the reason if it is none of ours, else ""."""
        malformed: Counter[str] | None = None
        try:
            note = self._strict_note(payload)
        except UNDECODABLE:
            note, malformed = self._salvage.note(payload)
        medium, chat = _CHAT, note.chat
        if note.message_type != self._chat_message:
            other = self._media.get(note.message_type)
            if other is None:
                return "message_type"
            medium, chat = other, _identified(getattr(note, other.container), other)
        if note.notification_type != medium.properties:
            if chat is not None:
                self._take_along(chat, note, payload, batch, medium)
            return "notification_type"
        if chat is None:
            return "no_chat"
        reason = self._observe(chat, note, payload, batch, malformed, medium.name)
        if reason:
            batch.decoded.chats.append(chat.id)
        return reason

    def _take_along(self, chat: Any, note: Any, payload: Raw | bytes, batch: _Batch, medium: Medium) -> None:
        """A chat that came is one that may have a disposition already: what its first change follows on."""
        batch.decoded.chats.append(chat.id)
        if chat.state in _ENDED:
            batch.decoded.ended.add(chat.id)
        else:
            batch.decoded.ended.discard(chat.id)
        for key, attribute in self._keys:
            value = getattr(chat.user_data, attribute, UNSET)
            if value is not UNSET:
                batch.decoded.told[chat.id, key] = value or None
        if note.notification_type == STATUS_CHANGE:
            self._observe(chat, note, payload, batch, None, medium.name, prime=True)

    def _take_read(self, medium: Medium, payload: Raw | bytes, batch: _Batch) -> str:
        """Add the observations of one interaction as it is now; the reason if there are none, else ""."""
        malformed: Counter[str] | None = None
        try:
            chat = self._strict[medium.container](payload)
        except UNDECODABLE:
            chat, malformed = self._salvage.interaction(payload, medium.container)
        if medium is not _CHAT:
            chat = _identified(chat, medium)
        if chat.state not in _ENDED:
            batch.decoded.chats.append(chat.id)
        return self._observe(chat, self._no_note, payload, batch, malformed, medium.name)

    def _observe(
        self,
        chat: Any,
        note: Any,
        payload: Raw | bytes,
        batch: _Batch,
        malformed: Counter[str] | None,
        media_type: MediaType,
        *,
        prime: bool = False,
    ) -> str:
        """One observation per key that is present; "no_key" if none is. On the hot path: no frame, no copy to spare."""
        found, data = False, chat.user_data
        for key, attribute in self._keys:
            value = getattr(data, attribute, UNSET)  # without userData there is no key either
            if value is UNSET:
                continue
            if not found:
                found = True
                hash_ = batch.hash.copy()  # a copy costs less than a new one with the same parameters
                hash_.update(payload)
                digest = hash_.digest()
                participants = self._participants(chat)
                user_data = self._extra(data, batch.decoded.malformed) if self._extras else {}
                metrics = note.metrics
                timing = metrics and metrics.event_processing
                server_time_ms = timing and timing.server_generation_timestamp
            batch.observe(
                Observation(
                    batch.account,
                    chat.id,
                    key,
                    value or None,
                    server_time_ms,
                    batch.received_ms,
                    chat.state,
                    chat.uri,
                    note.reference_id,
                    participants,
                    user_data,
                    batch.origin,
                    digest,
                    prime,
                    media_type,
                )
            )
        if malformed and found:
            batch.decoded.malformed += malformed
        return "" if found else "no_key"

    def _extra(self, data: Any, malformed: Counter[str]) -> dict[str, Any]:
        """The allow-listed values; one that is too large, too deep or no text is left out and counted."""
        extra = {}
        for key, name in self._extras:
            value = getattr(data, name)
            if value is UNSET:
                continue
            try:
                extra[key] = self._json_value(value) if isinstance(value, Raw) else value
            except (*UNDECODABLE, ValueError):
                malformed["userData"] += 1
        return extra

    def _json_value(self, raw: Raw) -> Any:
        if memoryview(raw).nbytes > self._max_value_bytes:
            raise ValueError("too large")
        value = msgspec.json.decode(raw)
        if _depth(value) > MAX_DEPTH:
            raise ValueError("too deep")
        return value


def _identified(interaction: Any, medium: Medium) -> Any:
    """The same with what identifies it among those of all media in the place of its id."""
    if interaction is not None and interaction.id:
        interaction.id = identity_of(medium.name, interaction.id)
    return interaction


def _each(payloads: Sequence[Raw | bytes], take: Callable[[Raw | bytes, _Batch], str], batch: _Batch) -> DecodedBatch:
    """Take each payload on its own and count it once."""
    decoded = batch.decoded
    others = 0
    for payload in payloads:
        try:
            reason = take(payload, batch)
        except NotificationRefused as exc:
            decoded.refused[exc.reason] += 1
            others += 1
            continue
        if reason:
            decoded.filtered[reason] += 1
            others += 1
    decoded.forwarded = len(payloads) - others
    return decoded


def _hash(account: str, moment: str = "") -> blake2b:
    """To be copied. Its salt makes digests those of this account: in a conference others hear the same notification."""
    salt = blake2b(f"{account}\0{moment}".encode(), digest_size=blake2b.SALT_SIZE).digest()
    return blake2b(digest_size=DIGEST_BYTES, salt=salt)


_known_hash = lru_cache(maxsize=1024)(_hash)


def _agents(chat: Any) -> tuple[Participant, ...]:
    agents: tuple[Participant, ...] = ()
    for one in chat.participants or ():
        if one.type == AGENT:
            agents += (one,)
    return agents


def _everyone(chat: Any) -> tuple[Participant, ...]:
    return chat.participants or ()


def _nobody(_: Any) -> tuple[Participant, ...]:
    return ()


def _depth(value: Any) -> int:
    """Levels of containers in decoded JSON; 0 for a scalar."""
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, (list, dict))]:
        depth += 1
        level = [child for v in level for child in (v.values() if isinstance(v, dict) else v)]
    return depth
