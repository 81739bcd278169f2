"""Connections to a Kafka cluster: how they are secured, a producer that can be given up, and why there is none."""

import asyncio
import contextlib
import logging
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.producer.sender import Sender

from listener.errors import Park, Retry
from listener.sinks.kafka.settings import KafkaSettings
from listener.sinks.registry import SinkContext

_CLOSE_S = 1.0
_NEEDS_A_PERSON = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

# Its words on every attempt of its own repeat what our one line says, several times a second.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


async def security_of(context: SinkContext, settings: KafkaSettings) -> dict[str, Any]:
    """Arguments that every client of the library takes; reads certificates and the password anew.

    Raises:
        Retry: the password's file cannot be used now.
        StartError: a certificate cannot be used.
    """
    options: dict[str, Any] = {
        "security_protocol": "SSL" if settings.tls else "PLAINTEXT",
        "request_timeout_ms": round(settings.timeout_s * 1000),
        "client_id": "disposition-listener",
    }
    if settings.tls:
        options["ssl_context"] = await asyncio.to_thread(settings.ssl_context, context)
    if settings.username is not None:
        options["security_protocol"] = f"SASL_{options['security_protocol']}"
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.username
        options["sasl_plain_password"] = await settings.password_now(context) or ""
    return options


class Producer(AIOKafkaProducer):  # type: ignore[misc] # the library has no types
    """A producer that can be given up.

    An idempotent one tries for ever, and `stop` waits for it: neither tells of a cluster that is away.

    Attributes:
        usable: whether it has not been given up.
    """

    usable = True

    async def close(self) -> None:
        """Give up what is not acknowledged and release everything, within a second or two. Idempotent."""
        self.usable = False
        self._closed = True
        sending = self._sender.sender_task
        tasks = [*self._requests(), *([] if sending is None else [sending])]
        for task in tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self.client.close()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S)

    def _requests(self) -> list[asyncio.Task[Any]]:
        """The tasks that wait for an answer to what was sent.

        The sender keeps them to itself, and they outlive it: each tries again once there is metadata, which nobody
        fetches any more.
        """
        return [task for task in asyncio.all_tasks() if self._is_request(task.get_coro())]

    def _is_request(self, coroutine: Any) -> bool:
        if getattr(coroutine, "cr_code", None) is not Sender._send_produce_req.__code__:  # noqa: SLF001 - a test guards it
            return False
        return coroutine.cr_frame is not None and coroutine.cr_frame.f_locals.get("self") is self._sender


async def why_not(settings: KafkaSettings, security: dict[str, Any]) -> Park | Retry:
    """Knock at each server once more: the library keeps to itself why none of them lets it in."""
    reasons: list[str] = []
    for server in settings.bootstrap_servers:
        host, _, port = server.rpartition(":")
        try:
            connection = await create_conn(host.strip("[]"), int(port), **security)
        except _NEEDS_A_PERSON as exc:
            return Park(f"{server} does not let us in: {words_of(exc)}")
        except TimeoutError:
            reasons.append(f"{server} did not answer within {settings.timeout_s:g} s")
        except (KafkaError, OSError) as exc:
            reasons.append(f"{server} cannot be reached: {words_of(exc)}")
        else:
            connection.close()
            reasons.append(f"{server} takes connections and tells nothing of its cluster")
    return Retry("; ".join(reasons))


def words_of(exc: BaseException) -> str:
    """What an error says, without the library's own explanation where the broker gave none."""
    return str(exc) or type(exc).__name__
