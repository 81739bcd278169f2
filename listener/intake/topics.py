"""What a session listens to; which of several topics it does not hear, since when, as it is stored with the session."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from listener.cometd.facts import TopicsAnswered
from listener.model.event import REFUSED_SINCE, SessionState
from listener.model.media import MediaType
from listener.runtime.clock import Moment


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Identifies a session; a saved one is continued only if all of this is the same."""

    account: str
    url: str
    topics: Mapping[MediaType, str]

    def fits(self, saved: SessionState) -> bool:
        """Whether a stored session can go on: it may get more topics, but keep none that nobody wants."""
        return saved.url == self.url and {topic for topic, _ in _parsed(saved.topic)} <= set(self.topics.values())


class HeardAgain(NamedTuple):
    """A medium whose topic was refused, and since when it may not have been heard."""

    media_type: MediaType
    since: Moment


class Topics:
    """The topics of one account, as its stored session names them.

    A server may refuse some of them and grant the others. Of one that it refuses it is on record, in the session that
    is stored, since when; once it is granted, that stretch is a gap.

    Args:
        topics: those of the configuration, by medium.
        saved: the stored session, None without one.
        certain: the last moment at which that certainly existed.
        doubt_s: for how long before it a topic may have been lost in silence.

    Attributes:
        text: what to store: the topics with commas between, and of a refused one since when (epoch milliseconds).
    """

    __slots__ = ("_granted", "_media", "_saved_at", "_since", "_why", "text")

    def __init__(
        self,
        topics: Mapping[MediaType, str],
        saved: SessionState | None = None,
        certain: Moment | None = None,
        *,
        doubt_s: float = 0.0,
    ) -> None:
        self._media = {topic: media_type for media_type, topic in topics.items()}
        before = dict(_parsed(saved.topic)) if saved is not None else {}
        self._since = {
            topic: Moment(ms, None) for topic, ms in before.items() if ms is not None and topic in self._media
        }
        self._saved_at = dict.fromkeys(before, certain and certain.earlier(doubt_s))
        self._granted: dict[str, Moment] = {}
        self._why: dict[str, str] = {}
        self.text = self._text()

    @property
    def unheard(self) -> tuple[MediaType, ...]:
        """The media that are not heard now."""
        return tuple(self._media[topic] for topic in self._since)

    @property
    def trouble(self) -> str | None:
        """What is not heard and why, in words."""
        told = [f"{self._media[topic]} is not heard, {topic} was refused: {self._why[topic]}" for topic in self._why]
        return "; ".join(told) or None

    def answered(self, fact: TopicsAnswered) -> list[HeardAgain]:
        """What the server has granted and refused. Returns what is heard again."""
        again = []
        for topic, media_type in self._media.items():
            if topic in fact.refused:
                self._since.setdefault(topic, self._heard_until(topic, fact))
                continue
            if (since := self._since.pop(topic, None)) is not None:
                again.append(HeardAgain(media_type, since))
            self._granted[topic] = fact.asked_at
        self._why = {topic: said for topic, said in fact.refused.items() if topic in self._media}
        self.text = self._text()
        return again

    def _heard_until(self, topic: str, fact: TopicsAnswered) -> Moment:
        """When a topic that is refused now was last certainly heard.

        Where a session begins, what came before is a gap of the whole account. What was never granted is not heard
        since it was asked for.
        """
        if fact.is_new:
            return fact.asked_at
        return self._granted.get(topic) or self._saved_at.get(topic) or fact.asked_at

    def _text(self) -> str:
        return ",".join(
            f"{topic}{REFUSED_SINCE}{self._since[topic].wall_ms}" if topic in self._since else topic
            for topic in self._media
        )


def _parsed(text: str) -> Iterator[tuple[str, int | None]]:
    for part in text.split(","):
        topic, _, since = part.partition(REFUSED_SINCE)
        yield topic, int(since) if since.isdecimal() else None
