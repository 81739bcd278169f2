"""Builds the parts of the daemon and of the probes from the settings."""

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import aiohttp

from listener.cometd.client import BatchClient
from listener.cometd.engine import Engine
from listener.cometd.protocol import Resume, Session
from listener.cometd.transport import Link
from listener.config.lane import LaneSettings
from listener.config.settings import AccountSettings, ServerSettings, Settings, load
from listener.daemon import connections
from listener.delivery import LanePolicy
from listener.errors import ConfigError, Problem
from listener.intake.receiver import Identity
from listener.model.event import Event, SessionState
from listener.model.testevent import make_test_event
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.metrics import Metrics
from listener.sinks import registry
from listener.webservices.client import WebServices, new_session


class Account:
    """The parts that belong to one account: HTTP session, REST client, CometD client.

    `before_listening` is called once, after the first login and before anything is subscribed to.

    Args:
        settings: the whole configuration.
        account: its table.
        connector: shared by all accounts.
        metrics: counts logins.
        saved: the session of an earlier process, if it fits this configuration.
        spread_s: over how long the requests of all accounts are spread.
        host: time and chance.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        account: AccountSettings,
        connector: aiohttp.BaseConnector,
        metrics: Metrics,
        saved: SessionState | None = None,
        spread_s: float = 1.0,
        host: Host = THIS_HOST,
    ) -> None:
        server = settings.server
        self.identity = identity_of(settings, account)
        self.http = new_session(connector)
        self.rest = self._web_services(settings, account, metrics, host) if server.login == "basic" else None
        self.before_listening: Callable[[], Awaitable[None]] | None = None
        self._login_restored = saved is not None
        self.engine = Engine(
            session=self._session(server, saved),
            host=host,
            login=self._log_in if self.rest else None,
            spread_s=spread_s,
        )
        link = Link(
            engine=self.engine,
            http=self.http,
            headers=self.rest.headers if self.rest else dict,
            connect_timeout_s=server.connect_timeout_s,
            margin_s=server.poll_margin_s,
            max_bytes=server.max_response_bytes,
            time_s=host.time_s,
        )
        self.client = BatchClient(url=self.identity.url, link=link)

    def _web_services(self, settings: Settings, account: AccountSettings, metrics: Metrics, host: Host) -> WebServices:
        return WebServices(
            url=settings.server.url,
            username=account.username,
            password=lambda: account.secret(settings.base),
            http=self.http,
            request_timeout_s=settings.server.request_timeout_s,
            start_contact_center_session=settings.server.start_contact_center_session,
            on_login=lambda result: metrics.count("logins_total", 1, result),
            time_s=host.time_s,
        )

    def _session(self, server: ServerSettings, saved: SessionState | None) -> Session:
        session = Session(topics=[server.topic], connection_type=server.transport, want_ack=server.ack)
        if saved is not None:
            connections.restore_cookies(self.http, server.url, saved.cookies)
            session.resume(
                Resume(
                    client_id=saved.client_id,
                    connection_type=saved.connection_type,
                    ack=saved.ack,
                    max_interval_ms=saved.max_interval_ms,
                )
            )
        return session

    async def _log_in(self) -> None:
        """Log in; at first only ask for a CSRF token where the login of an earlier process may still hold."""
        if self.rest is None:
            return
        if self._login_restored:
            await self.rest.keepalive()
            self._login_restored = False
        else:
            await self.rest.login()
        if self.before_listening is not None:
            await self.before_listening()
            self.before_listening = None


def identity_of(settings: Settings, account: AccountSettings) -> Identity:
    """What a stored session must match."""
    server = settings.server
    return Identity(account=account.username, url=server.url + server.notifications, topic=server.topic)


def new_test_event(settings: Settings, sink: str, host: Host = THIS_HOST) -> Event:
    """A test event for a sink of this configuration."""
    return make_test_event(
        sink=sink,
        type_prefix=settings.disposition.type_prefix,
        source=source_of(settings),
        now_ms=host.clock.now_ms(),
        mark=host.token(8),
    )


def source_of(settings: Settings) -> str:
    """CloudEvents `source`: the topic as a resource of the server, including `/api`, as notifications have it."""
    server = settings.server
    version = "/" + server.topic.split("/")[1]
    prefix, found, _ = server.notifications.partition(version + "/")
    return server.url + (prefix if found else "") + server.topic


def sink_problems(settings: Settings) -> list[Problem]:
    """Everything wrong with the sinks' own keys, and with the sinks side by side."""
    return registry.problems_of_all(settings.sinks, settings.base)


def policy_of(name: str, lane: LaneSettings) -> LanePolicy:
    """The lane policy in a sink's table; the retry horizon defaults to that of its kind."""
    match lane.retry_horizon_h:
        case None:
            horizon_s = registry.retry_horizon_s(name, lane)
        case "never":
            horizon_s = None
        case hours:
            horizon_s = hours * 3600
    return LanePolicy(
        batch=lane.batch,
        changes_only=lane.events == "changes",
        gaps=lane.gaps,
        accounts=frozenset(lane.accounts),
        keys=frozenset(lane.keys),
        changes=frozenset(lane.changes),
        dispositions=lane.dispositions,
        fields=None if lane.fields is None else frozenset(lane.fields),
        retry_horizon_s=horizon_s,
    )


def load_checked(path: Path | None, *, environ: Mapping[str, str] = os.environ) -> Settings:
    """The configuration, with every check that needs no connection: sinks and certificates too.

    Raises:
        ConfigError: with every problem; see `settings.load`.
    """
    settings = load(path, environ=environ, sink_problems=registry.problems_of_all)
    connections.tls_context(settings.server)
    connections.proxy_password(settings.server)
    folder = settings.path(settings.journal.path).parent
    if not folder.is_dir():
        raise ConfigError([Problem("journal.path", f"there is no folder {folder}")])
    return settings


def sink_kinds() -> list[registry.Installed]:
    """Every installed kind of sink with its settings; imports them, and says why one cannot be used."""
    return [registry.installed(point) for point in registry.kinds().values()]
