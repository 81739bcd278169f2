"""Disposition keys that the server names itself: asked for after each login, for each account."""

from collections.abc import Callable, Sequence
from http import HTTPStatus

import structlog
from msgspec import Raw

from listener.errors import CsrfRejected, LoginRefused, ServerFault, Unreachable, WebServicesError
from listener.model.media import CHAT, MediaType
from listener.webservices.client import WebServices
from listener.webservices.notifications import DecodedBatch, NotificationDecoder

FALLBACK = "DispositionCode"
_MOST_KEYS = 16  # that a server names one after the other; then the oldest is given up
_log = structlog.get_logger(__name__)

DecoderOf = Callable[[tuple[str, ...]], NotificationDecoder]


class FoundKeys:
    """Makes the decoders of accounts whose keys the server names, and tells once what it does not name.

    Args:
        decoder_of: the decoder of some keys.
    """

    def __init__(self, decoder_of: DecoderOf) -> None:
        self._decoder_of = decoder_of
        self._is_told = False

    def decoder(self, account: str) -> "FindingDecoder":
        """A decoder for this account, which knows no key yet."""
        return FindingDecoder(account=account, decoder_of=self._decoder_of, fall_back=self._fall_back)

    def _fall_back(self, why: str) -> None:
        if not self._is_told:
            self._is_told = True
            _log.warning("disposition_key_not_named", reason=why, key=FALLBACK)


class FindingDecoder(NotificationDecoder):
    """Decodes by the keys that the server has named so far. Nothing is decoded before `learn` has returned once.

    A key stays when the server names another one later: chats under way may still have the old one.

    Args:
        account: for the log.
        decoder_of: the decoder of some keys.
        fall_back: told why the server names none; then it is `FALLBACK`.
    """

    def __init__(self, *, account: str, decoder_of: DecoderOf, fall_back: Callable[[str], None]) -> None:
        self._account = account
        self._decoder_of = decoder_of
        self._fall_back = fall_back
        self._found: tuple[str, ...] = ()
        self._decoder: NotificationDecoder | None = None

    @property
    def found(self) -> tuple[str, ...]:
        """The keys, the newest last."""
        return self._found

    async def learn(self, rest: WebServices) -> None:
        """Ask the server for the key.

        Raises:
            WebServicesError: it does not answer, and no key is known yet: what was heard could not be told apart.
        """
        try:
            key = await rest.disposition_key()
            why = "the settings of the server hold none"
        except (LoginRefused, CsrfRejected):
            raise
        except WebServicesError as exc:
            if self._found:
                return
            if _may_pass(exc):
                raise
            key, why = None, str(exc)
        if key is None and not self._found:
            self._fall_back(why)
            key = FALLBACK
        if key is not None and key not in self._found:
            self._found = (*self._found, key)[-_MOST_KEYS:]
            self._decoder = self._decoder_of(self._found)
            _log.info("disposition_key_found", account=self._account, keys=list(self._found))

    def decode(self, payloads: Sequence[Raw | bytes], *, account: str, received_ms: int) -> DecodedBatch:
        """As `NotificationDecoder.decode`."""
        return self._known().decode(payloads, account=account, received_ms=received_ms)

    def decode_read(
        self, payloads: Sequence[Raw | bytes], *, account: str, received_ms: int, media_type: MediaType = CHAT
    ) -> DecodedBatch:
        """As `NotificationDecoder.decode_read`."""
        return self._known().decode_read(payloads, account=account, received_ms=received_ms, media_type=media_type)

    def _known(self) -> NotificationDecoder:
        if self._decoder is None:
            raise RuntimeError("nothing is heard before `learn`, see `Engine.login_first`")
        return self._decoder


def _may_pass(exc: WebServicesError) -> bool:
    """Whether the same question may be answered a little later; an answer of another shape stays that."""
    return isinstance(exc, Unreachable) or (isinstance(exc, ServerFault) and exc.http_status != HTTPStatus.OK)
