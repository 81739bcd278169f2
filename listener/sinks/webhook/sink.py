"""The writer of the webhook sink: asks permission, sends requests of one event or of several, each chat's in order."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from aiohttp import hdrs
from yarl import URL

from listener.errors import Outcome, Park, Refusal, Reject, Retry
from listener.model.condition import Exchange
from listener.model.event import Event
from listener.ports import Sink
from listener.runtime.urls import told
from listener.sinks.registry import SinkContext, SinkKind
from listener.sinks.verdict import chat_of
from listener.sinks.webhook.binding import Binding, Message
from listener.sinks.webhook.credentials import AccessTokens, Credentials, FixedCredentials
from listener.sinks.webhook.endpoint import Answer, Endpoint, Failure, quoted, words_of
from listener.sinks.webhook.settings import WebhookSettings, problems_beside
from listener.sinks.webhook.showing import exchange_of
from listener.sinks.webhook.signing import SigningKey, SigningKeys, signature

_ALL = "*"
_NO_OPTIONS = 405  # 4.2: OPTIONS is not supported
_UNAUTHORIZED = 401
_WRONG_PLACE = (404, 410)
_REDIRECTS = range(300, 400)
_PROBE_FAILURES = (401, 403, 410)
_ENOUGH_REFUSALS = 20  # in a row: the rest of the call would fare the same, and what it means is the lane's to say


class Progress:
    """What becomes of a batch in one call.

    Args:
        events: the batch.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.delivered: set[int] = set()
        self.stopped = False
        self._failures: dict[int, Failure] = {}
        self._in_a_row: list[int] = []
        by_chat: dict[tuple[str, str], list[int]] = {}
        for index, event in enumerate(events):
            by_chat.setdefault(chat_of(event), []).append(index)
        self.chats = len(by_chat)
        self._remaining = iter(by_chat.values())

    def remaining(self) -> Iterator[list[int]]:
        """The indexes of chats that no worker has taken yet; shared by all workers."""
        return self._remaining

    def took(self, indexes: Iterable[int]) -> None:
        """The receiver has these."""
        self.delivered.update(indexes)
        self._in_a_row.clear()

    def can_continue(self, index: int, failure: Failure) -> bool:
        """Note a failure, which may end the call for all chats; tells whether the chat's next event may be sent."""
        self._failures[index] = failure
        refused = failure.kind is Reject
        if refused:
            self._in_a_row.append(index)
        self.stopped = self.stopped or failure.affects_all or len(self._in_a_row) >= _ENOUGH_REFUSALS
        return refused and not self.stopped

    def raise_outcome(self) -> None:
        """Raise what the lane must know first; nothing where every event is delivered.

        A time that was named holds for whatever is raised: the lane keeps it before it brings the rest.
        """
        delivered = frozenset(self.delivered)
        named = [failure.after_s for failure in self._failures.values() if failure.after_s is not None]
        after_s = max(named, default=None)
        if judged := self._of(Reject):
            first = min(judged)
            failure = judged.pop(first)
            others = {index: Refusal(other.text, other.detail) for index, other in judged.items()}
            raise Reject(
                first,
                failure.text,
                rejected=others,
                after_s=after_s if len(delivered) + len(others) + 1 < len(self.events) else None,
                delivered=delivered,
                detail=failure.detail,
                in_a_row=frozenset(self._in_a_row),
            )
        for found in (self._of(Park), self._of(Retry)):
            if found:
                raise found[min(found)].outcome(delivered, after_s)

    def _of(self, kind: type[Outcome]) -> dict[int, Failure]:
        return {index: failure for index, failure in self._failures.items() if failure.kind is kind}


def request_headers(origin: str, rate: int | None) -> dict[str, str]:
    """What the request for permission holds; `rate` is in requests a minute (4.1)."""
    asked = {"WebHook-Request-Rate": str(rate)} if rate is not None else {}
    return {"WebHook-Request-Origin": origin, **asked}


def allowed_rate(answer: Answer, *, origin: str, rate: int | None, where: str) -> int | Failure | None:
    """The requests a minute that an answer allows, None for any number; a Failure where it allows none (4.2).

    The headers decide and not the status: who knows nothing of the handshake may answer OPTIONS with a success. A
    status of passing trouble without them is passing trouble.

    Args:
        answer: to the request for permission.
        origin: who asked.
        rate: what was asked for; it counts where the receiver leaves the header out.
        where: the receiver, for the text of a Failure.
    """
    allowed = answer.headers.get("WebHook-Allowed-Origin", "").strip()
    if allowed.lower() not in (origin.lower(), _ALL):
        found = Failure(text=f"{where} answered {answer.status}", status=answer.status, after_s=answer.after_s)
        if found.kind is Retry and answer.status != _NO_OPTIONS:
            return found
        said = f"WebHook-Allowed-Origin is not {origin}" if allowed else "no WebHook-Allowed-Origin"
        text = f"{where} answered {answer.status} and does not allow us to send: {said}"
        return Failure(text=text, verdict=Park, status=answer.status)
    named = answer.headers.get("WebHook-Allowed-Rate", "").strip()
    if named.isascii() and named.isdigit() and int(named) > 0:
        return int(named)
    return rate if not named else None if named == _ALL else _no_rate(where)


def _no_rate(where: str) -> Failure:
    return Failure(text=f"{where} allows us to send, but its WebHook-Allowed-Rate is not a number", verdict=Park)


class RateLimiter:
    """Spreads requests evenly over each minute.

    Args:
        monotonic: seconds that only run forward.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._distance_s = 0.0
        self._next_s = 0.0

    def set(self, per_minute: int | None) -> None:
        """From now on at most so many; None for any number."""
        self._distance_s = 60.0 / per_minute if per_minute is not None else 0.0

    async def turn(self) -> None:
        """Return when the next request may go."""
        if not self._distance_s:
            return
        now_s = self._monotonic()
        at_s = max(self._next_s, now_s)
        self._next_s = at_s + self._distance_s
        await asyncio.sleep(at_s - now_s)


class WebhookSink:
    """Sends each event with a request of its own, or all of a batch with one; a status of 2xx makes it durable.

    An answer that judges one event for good leaves its chat going, one that may change holds the chat, and both leave
    the other chats going. Trouble that meets them all (no answer, a named time to wait, a Park) lets what is in flight
    finish and begins nothing more in this call. Can be opened again after `close`.

    Args:
        context: the sink's name and the base of relative paths.
        settings: its keys.
    """

    def __init__(self, *, context: SinkContext, settings: WebhookSettings) -> None:
        self._setting = context.setting("url")
        self._name = context.name
        self._time_s = context.host.time_s
        self._settings = settings
        self._url = URL(settings.url, encoded=settings.url.isascii())  # sent as written: it may be signed
        self._endpoint = Endpoint(context, settings)
        self._credentials: Credentials = FixedCredentials(context, settings)
        if settings.oauth2 is not None:
            self._credentials = AccessTokens(context, settings.oauth2, self._endpoint)
        self._binding = Binding(mode=settings.mode, form=context.form, templates=settings.header_templates)
        self._signing = SigningKeys(
            secrets=[secret.get_secret_value() for secret in settings.signing_secrets],
            files=[context.base / file for file in settings.signing_secret_files],
            setting=context.setting("signing_secret_files"),
        )
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._rate_limiter = RateLimiter(context.host.clock.monotonic_s)
        self._show: Callable[[Exchange], None] | None = None

    def show_to(self, show: Callable[[Exchange], None] | None) -> None:
        """See `ports.ShowsExchanges`."""
        self._show = show

    async def open(self) -> None:
        """See `ports.Sink`. Reaches nobody yet, unless permission has to be asked for."""
        await self._endpoint.open()
        if self._settings.validation == "options":
            await self._ask_permission()

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. Of several outcomes one is raised: Reject before Park before Retry.

        The lane learns at once of every event that is judged, and so sends none of them again; the trouble of the rest
        is still there in the next call.
        """
        await self._endpoint.renew()
        keys = await self._prepare()
        progress = Progress(events)
        if self._binding.batched:
            await self._send_together(progress, range(len(events)), keys)
        else:
            async with asyncio.TaskGroup() as group:
                for number in range(min(self._settings.concurrency, progress.chats)):
                    group.create_task(self._work(progress, keys), name=f"webhook-{self._name}-{number}")
        progress.raise_outcome()

    async def check(self) -> None:
        """See `ports.Sink`: an OPTIONS request.

        Where permission has to be asked for, that is it. Else whatever is answered means that the receiver is there,
        but for 401, 403 and 410.
        """
        opened = not self._endpoint.is_open
        if opened:
            await self._endpoint.open()
        try:
            await self._prepare()
            if self._settings.validation == "options":
                await self._ask_permission()
                return
            failure = self._failure(await self._options({}))
        finally:
            if opened:
                await self._endpoint.close()
        if failure is not None and (failure.status is None or failure.status in _PROBE_FAILURES):
            raise failure.outcome()

    async def close(self) -> None:
        """See `ports.Sink`."""
        await self._endpoint.close()

    async def _prepare(self) -> tuple[SigningKey, ...]:
        await self._credentials.prepare()
        return await self._signing.now()

    async def _options(self, headers: Mapping[str, str]) -> Answer | Failure:
        sent = {**self._headers, **self._credentials.headers, **headers}
        return await self._endpoint.exchange(hdrs.METH_OPTIONS, self._url, sent, None)

    async def _ask_permission(self) -> None:
        """Raises Park if there is none, Retry where nobody answers."""
        await self._credentials.prepare()
        origin, rate = self._settings.origin or "", self._settings.request_rate
        answer = await self._options(request_headers(origin, rate))
        allowed = (
            answer
            if isinstance(answer, Failure)
            else allowed_rate(answer, origin=origin, rate=rate, where=told(self._url))
        )
        if isinstance(allowed, Failure):
            raise allowed.outcome(after_s=allowed.after_s)
        self._rate_limiter.set(allowed)

    async def _work(self, progress: Progress, keys: Sequence[SigningKey]) -> None:
        """Take chat after chat; stop with a chat at the first event that has to come again."""
        for chat in progress.remaining():
            for index in chat:
                if progress.stopped:
                    return
                failure = await self._send(self._binding.message(progress.events[index]), keys)
                if failure is None:
                    progress.took([index])
                elif not progress.can_continue(index, failure):
                    break

    async def _send_together(self, progress: Progress, indexes: Sequence[int], keys: Sequence[SigningKey]) -> bool:
        """Bring events in one request; tells whether what is behind them may be sent.

        A batch that is refused for good is brought in halves, one behind the other, until it is known which event it
        was: the answer judges the batch and not each event in it.
        """
        failure = await self._send(self._binding.batch([progress.events[index] for index in indexes]), keys)
        if failure is None:
            progress.took(indexes)
            return True
        if failure.kind is not Reject or len(indexes) == 1:
            return progress.can_continue(indexes[0], failure)
        middle = len(indexes) // 2
        return await self._send_together(progress, indexes[:middle], keys) and await self._send_together(
            progress, indexes[middle:], keys
        )

    async def _send(self, message: Message, keys: Sequence[SigningKey]) -> Failure | None:
        """One request, and again where a refused token could be replaced; None is success."""
        await self._rate_limiter.turn()
        refused = self._credentials.headers
        failure = await self._request(message, keys)
        if failure is None or failure.status != _UNAUTHORIZED:
            return failure
        failure = await self._credentials.renew(refused, failure)
        return failure if failure is not None else await self._request(message, keys)

    async def _request(self, message: Message, keys: Sequence[SigningKey]) -> Failure | None:
        """Standard Webhooks 1.0: the id stays the same, the timestamp is that of the attempt."""
        timestamp = str(int(self._time_s()))
        headers = {**self._headers, **self._credentials.headers, **message.headers}
        headers |= {"webhook-id": message.id, "webhook-timestamp": timestamp}
        signed = ""
        if keys:
            signed = signature(keys, message_id=message.id, timestamp=timestamp, body=message.body)
            headers["webhook-signature"] = signed
        answer = await self._endpoint.exchange(self._settings.method, self._url, headers, message.body)
        if self._show is not None:
            self._show(
                exchange_of(
                    self._settings.method,
                    self._url,
                    headers=headers,
                    secret_headers={*self._headers, *self._credentials.headers, "webhook-signature"},
                    secrets=self._secrets(signed),
                    body=message.body,
                    answer=answer,
                )
            )
        return self._failure(answer, signed)

    def _secrets(self, signed: str) -> tuple[str, ...]:
        """What nobody may be shown although a receiver quotes it."""
        credentials = self._credentials
        return (*self._headers.values(), *credentials.headers.values(), *credentials.secrets, signed)

    def _failure(self, answer: Answer | Failure, signed: str = "") -> Failure | None:
        """The status decides alone; the body is quoted where it explains a failure."""
        if isinstance(answer, Answer) and answer.ok:
            return None
        secrets = self._secrets(signed)
        if isinstance(answer, Failure):
            return replace(answer, detail=quoted(answer.detail, secrets))
        said = quoted(words_of(answer), secrets)
        text = f"{told(self._url)} answered {answer.status}" + (f" ({said})" if said else "")
        if answer.status in _WRONG_PLACE or answer.status in _REDIRECTS:
            text += f", see {self._setting}"
        return Failure(
            text=text,
            detail=quoted(answer.body.decode("utf-8", "replace"), secrets),
            status=answer.status,
            after_s=answer.after_s,
        )


def _build(context: SinkContext, settings: WebhookSettings) -> Sink:
    return WebhookSink(context=context, settings=settings)


# Longer than a weekend: whoever comes on Monday still finds a receiver to be mended, not letters to be replayed.
KIND = SinkKind(
    name="webhook",
    settings=WebhookSettings,
    build=_build,
    problems=problems_beside,
    retry_horizon_s=75 * 3600.0,
    retry_event_after_s=3600.0,
)
