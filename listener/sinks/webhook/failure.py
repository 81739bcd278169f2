"""What came of a request that did not succeed, and what that means for the events in it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from listener.errors import Outcome, Park, Reject, Retry

_TEXT_CHARACTERS = 1000

# A person must act: the address, the credentials or the receiver's configuration are wrong for every event alike.
_GONE = 410
_PARKS = {401, 403, 404, 407, _GONE, 415}
# What an ingress or a half-started service says in place of a receiver that is being replaced; it passes by itself.
_STAND_INS = {405, 406, 426}
_RETRIES = {408, 425, 429, *_STAND_INS}


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What came of a request that did not succeed.

    `status` is None where nobody answered; `verdict` is what it means where the status does not tell. `detail` quotes
    the answer, which often quotes the event: not for a log.
    """

    text: str
    detail: str = ""
    status: int | None = None
    after_s: float | None = None
    verdict: type[Outcome] | None = None

    @property
    def kind(self) -> type[Outcome]:
        """The one place that tells a passing failure from a wrong event and from work for a person."""
        if self.verdict is not None:
            return self.verdict
        if self.status is None or self.status >= 500 or self.status in _RETRIES:  # noqa: PLR2004 - the class of the status
            return Retry
        if self.status < 400 or self.status in _PARKS:  # noqa: PLR2004 - a redirect: the address is wrong
            return Park
        return Reject

    @property
    def affects_all(self) -> bool:
        """Whether the next request would fare the same, whatever event it carries."""
        if self.kind is Retry:
            return self.status is None or self.status in _STAND_INS or self.after_s is not None
        return self.kind is Park

    def outcome(self, delivered: frozenset[int] = frozenset(), after_s: float | None = None) -> Park | Retry:
        """As the error that `deliver` raises, of a failure that is no Reject."""
        if self.kind is Park:
            gone = self.status == _GONE
            text = f"{self.text}: it is gone, so the sink is disabled" if gone else self.text
            return Park(text, disabled=gone, delivered=delivered, detail=self.detail)
        return Retry(self.text, after_s=after_s, delivered=delivered, detail=self.detail)


def quoted(text: str, secrets: Iterable[str]) -> str:
    """What somebody else said, on one short line and without secrets.

    Some receivers quote the request in their answer: a secret header whole, or the credential behind its scheme.
    """
    words = {*(secrets := [*secrets]), *(word for secret in secrets for word in secret.split())} - {""}
    line = one_line(text)
    if words:
        longest_first = sorted(words, key=len, reverse=True)  # a short one may be a part of a long one
        line = re.sub("|".join(map(re.escape, longest_first)), "***", line)
    return line[:_TEXT_CHARACTERS]


def one_line(text: str) -> str:
    """A text without line ends and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
