"""Builds the parts of the daemon and of the probes from the settings."""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import aiohttp

from listener.cometd.certainty import Certainty
from listener.cometd.client import BatchClient
from listener.cometd.engine import Engine
from listener.cometd.protocol import Resume, Session
from listener.cometd.transport import Link
from listener.config.lane import LaneSettings
from listener.config.loading import load, parts_of
from listener.config.settings import AccountSettings, ServerSettings, Settings, SupervisorSettings
from listener.daemon import connections, preflight
from listener.delivery import LanePolicy
from listener.errors import ConfigError, Problem
from listener.intake.topics import Identity
from listener.journal.sqlite.lock import Known
from listener.model.event import Event, SessionState
from listener.model.media import CHAT, MediaType
from listener.model.testevent import make_test_event
from listener.runtime.gate import Gate
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.metrics import Metrics
from listener.runtime.visitor import Visitor
from listener.sinks import registry
from listener.webservices.client import WebServices
from listener.webservices.media import MEDIA
from listener.webservices.skew import ClockSkew
from listener.webservices.supervisor import SupervisorServices


class Account:
    """The parts that belong to one account: HTTP session, REST client, CometD client.

    `before_listening` is called once, after the first login and before anything is subscribed to; `after_login` after
    each login, and one that fails fails the login; `on_login` are called after each that is done. `services` is
    what a supervisor can ask beside an agent, None of an agent.

    Args:
        settings: the whole configuration.
        account: its table.
        connector: shared by all accounts.
        metrics: counts logins.
        saved: the session of an earlier process, if it fits this configuration.
        spread_s: over how long the requests of all accounts are spread.
        skew: sees the server's clock; shared by all accounts.
        certainty: see `Link`; shared by all accounts.
        others_first: likewise.
        host: time and chance.
    """

    __slots__ = (
        "_login_restored",
        "after_login",
        "before_listening",
        "client",
        "engine",
        "http",
        "identity",
        "on_login",
        "rest",
        "services",
    )

    def __init__(
        self,
        *,
        settings: Settings,
        account: AccountSettings,
        connector: aiohttp.BaseConnector,
        metrics: Metrics,
        saved: SessionState | None = None,
        spread_s: float = 1.0,
        skew: ClockSkew | None = None,
        certainty: Certainty | None = None,
        others_first: Gate | None = None,
        host: Host = THIS_HOST,
    ) -> None:
        server = settings.server
        self.identity = identity_of(settings, account)
        self.http = Visitor(connector)
        self.on_login: list[Callable[[], None]] = []
        self.services: SupervisorServices | None = None
        self.rest = self._web_services(settings, account, metrics, skew, host) if server.login == "basic" else None
        self.before_listening: Callable[[], Awaitable[None]] | None = None
        self.after_login: Callable[[WebServices], Awaitable[None]] | None = None
        self._login_restored = saved is not None
        self.engine = Engine(
            session=self._session(server, topics_of(settings).values(), saved),
            host=host,
            login=self._log_in if self.rest else None,
            spread_s=spread_s,
            certainty=certainty,
        )
        if saved is not None and not saved.clean:  # its last poll may be held yet
            self.engine.lease.unanswered(self.engine.session.timeout_ms / 1000)
        link = Link(
            engine=self.engine,
            http=self.http,
            headers=self.rest.headers if self.rest else dict,
            connect_timeout_s=server.connect_timeout_s,
            margin_s=server.poll_margin_s,
            max_message_bytes=server.max_message_bytes,
            time_s=host.time_s,
            certainty=certainty,
            others_first=others_first,
        )
        self.client = BatchClient(url=self.identity.url, link=link)

    def _web_services(
        self, settings: Settings, account: AccountSettings, metrics: Metrics, skew: ClockSkew | None, host: Host
    ) -> WebServices:
        def on_login(result: str) -> None:
            metrics.count("logins_total", 1, result)
            for told in self.on_login if result == "ok" else ():
                told()

        server, kind = settings.server, WebServices
        enters = server.start_contact_center_session
        if isinstance(account, SupervisorSettings):
            kind, enters = SupervisorServices, account.start_contact_center_session
        services = kind(
            url=server.url,
            username=account.username,
            password=lambda: account.secret(settings.base),
            http=self.http,
            request_timeout_s=server.request_timeout_s,
            start_contact_center_session=enters,
            channels=channels_of(settings),
            on_login=on_login,
            time_s=host.time_s,
            skew=skew,
        )
        if isinstance(services, SupervisorServices):
            self.services = services
        return services

    def _session(self, server: ServerSettings, topics: Iterable[str], saved: SessionState | None) -> Session:
        session = Session(topics=topics, connection_type=server.transport, want_ack=server.ack)
        if saved is not None:
            connections.restore_cookies(self.http, server.url, saved.cookies)
            session.resume(
                Resume(
                    client_id=saved.client_id,
                    connection_type=saved.connection_type,
                    ack=saved.ack,
                    max_interval_ms=saved.max_interval_ms,
                    taken=saved.taken,
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
        if self.after_login is not None:
            await self.after_login(self.rest)
        if self.before_listening is not None:
            await self.before_listening()
            self.before_listening = None


def identity_of(settings: Settings, account: AccountSettings) -> Identity:
    """What a stored session must match."""
    server = settings.server
    return Identity(account=account.username, url=server.url + server.notifications, topics=topics_of(settings))


def topics_of(settings: Settings) -> dict[MediaType, str]:
    """What each account subscribes to, by medium."""
    media = settings.disposition.media
    return {name: settings.server.topic if name == CHAT else MEDIA[name].topic for name in media}


def new_test_event(settings: Settings, sink: str, host: Host = THIS_HOST) -> Event:
    """A test event for a sink of this configuration."""
    return make_test_event(
        sink=sink,
        type_prefix=settings.disposition.type_prefix,
        source=source_of(settings),
        now_ms=host.clock.now_ms(),
        mark=host.token(8),
    )


def channels_of(settings: Settings) -> list[str]:
    """What a contact-center session is started for: chat, where nobody has documented what a medium is called there."""
    channels = [channel for name in settings.disposition.media if (channel := MEDIA[name].channel) is not None]
    return channels or [CHAT]


def sources_of(settings: Settings) -> dict[MediaType, str]:
    """CloudEvents `source`: the topic as a resource of the server, including `/api`, as notifications have it."""
    server = settings.server
    sources = {}
    for medium, topic in topics_of(settings).items():
        version = "/" + topic.split("/")[1]
        prefix, found, _ = server.notifications.partition(version + "/")
        sources[medium] = server.url + (prefix if found else "") + topic
    return sources


def source_of(settings: Settings) -> str:
    """That of what concerns no interaction: gaps and tests."""
    return next(iter(sources_of(settings).values()))


def sink_problems(settings: Settings) -> list[Problem]:
    """Everything wrong with the sinks' own keys, and with the sinks side by side."""
    return registry.problems_of_all(settings.sinks, settings.base)


def known_elsewhere(settings: Settings) -> Known | None:
    """What the destinations that can be asked on this host tell of the journal. Blocks."""
    found: list[tuple[int, int]] = []
    for name, lane in settings.sinks.items():
        with suppress(ConfigError):  # told with all the others when the sinks are built
            found += [one for one in [registry.newest(name, lane, settings.base)] if one is not None]
    if not found:
        return None
    return Known(max(sequence for sequence, _ in found), min(at_ms for _, at_ms in found))


def policy_of(name: str, lane: LaneSettings) -> LanePolicy:
    """The lane policy in a sink's table; for how long it tries what fails defaults to what its kind says."""
    patience = registry.patience(name, lane)
    return LanePolicy(
        batch=lane.batch,
        changes_only=lane.events == "changes",
        gaps=lane.gaps,
        accounts=frozenset(lane.accounts),
        media=frozenset(lane.media),
        keys=frozenset(lane.keys),
        changes=frozenset(lane.changes),
        dispositions=lane.dispositions,
        fields=None if lane.fields is None else frozenset(lane.fields),
        retry_horizon_s=_seconds(lane.retry_horizon_h, patience.horizon_s),
        retry_event_after_s=_seconds(lane.retry_event_after_h, patience.event_after_s),
        park_after_refusals=lane.park_after_refusals,
    )


def _seconds(hours: float | Literal["never"] | None, default_s: float | None) -> float | None:
    """A horizon of the configuration in seconds; None is never."""
    if hours is None:
        return default_s
    return None if hours == "never" else hours * 3600


def load_checked(path: Path | None, *, environ: Mapping[str, str] = os.environ) -> Settings:
    """The configuration, with every check that needs no connection: sinks and certificates too.

    Raises:
        ConfigError: with every problem; see `loading.load`.
    """
    try:
        settings = load(path, environ=environ, sink_problems=registry.problems_of_all)
    except ConfigError as exc:
        beside = preflight.setting_problems(parts_of(path, environ=environ))
        raise ConfigError([*exc.problems, *beside]) from exc
    if beside := preflight.setting_problems(settings.parts()):
        raise ConfigError(beside)
    return settings


def sink_kinds() -> list[registry.Installed]:
    """Every installed kind of sink with its settings; imports them, and says why one cannot be used."""
    return [registry.installed(point) for point in registry.kinds().values()]
