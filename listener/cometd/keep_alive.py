"""Keeps a session alive while the journal cannot take its batch."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress

from listener.cometd.lease import SHARE, Lease
from listener.cometd.payloads import Payload, Payloads, all_of, decode
from listener.cometd.protocol import Request, Session, Verdict
from listener.errors import ExchangeFailed, ListenerError
from listener.runtime.latch import Latch

AUTH_STATUS = (401, 403)
NOT_HONOURED = (
    "right after a login was granted: the login cookie is not honoured (two nodes without stickiness, or a cookie that"
    " is lost on the way), or this agent may not listen"
)
"""What such an answer means then."""
_PAUSE_S = 3.0
_LEAST_PAUSE_S = 0.1

Exchange = Callable[[Request], Awaitable[Payload | Payloads]]
"""Sends a request. The answer is one whole payload, as most are, or comes in several. Raises ExchangeFailed."""


class KeepAlive:
    """Sends connects with the old number, for a session with acknowledgements: what they bring is left to come again.

    Args:
        session: the protocol core.
        lease: when there may be a login.
        login: renews a login that ran out meanwhile; None if the server has no login.
    """

    __slots__ = ("_lease", "_login", "_session")

    def __init__(self, *, session: Session, lease: Lease, login: Callable[[], Awaitable[None]] | None) -> None:
        self._session = session
        self._lease = lease
        self._login = login

    async def until(self, durable: Latch, client_id: str, exchange: Exchange) -> None:
        """Return once the batch is durable, which came on the session of this id."""
        pause_s = max(_LEAST_PAUSE_S, min(_PAUSE_S, self._session.lifetime_s * SHARE))
        wait_s = pause_s
        while not await durable.within(wait_s):
            has_login = self._session.client_id == client_id and await self._connect(exchange)
            wait_s = 0.0 if has_login else pause_s

    async def _connect(self, exchange: Exchange) -> bool:
        """One connect; returns whether it made a login, which was granted. The cycle will report what is wrong."""
        request = self._session.keep_alive()
        verdict = Verdict.UNANSWERED
        try:
            async with aclosing(all_of(await exchange(request))) as payloads:
                async for payload in payloads:
                    messages = (await decode(payload)).messages
                    verdict = self._session.receive(request, [one for one in messages if not one.is_event]).verdict
                    if payload.more or verdict is not Verdict.UNANSWERED:
                        break  # whoever sends so much knows the session
        except ExchangeFailed as failure:
            if failure.http_status in AUTH_STATUS or self._lease.suspects_login(failure):
                verdict = Verdict.UNAUTHORIZED
        if verdict is Verdict.GRANTED:
            self._lease.renewed()
        elif verdict is Verdict.UNAUTHORIZED and self._login is not None and self._lease.may_log_in():
            self._lease.tried_login()
            with suppress(ListenerError):
                await self._login()
                return True
        return False
