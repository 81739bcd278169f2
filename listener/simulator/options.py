"""What can be chosen about the simulated site."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatorOptions:
    """One simulated Web Services node and the contact center behind it.

    Attributes:
        host: address to bind to.
        port: TCP port, 0 for a free one.
        agents: number of agents; they are named agent1, agent2, …
        password: the password of every agent.
        csrf: whether POST, PUT and DELETE need the CSRF header.
        csrf_header: name of that header, as told in `X-CSRF-HEADER`.
        ack: whether the CometD acknowledgement extension is granted to those who ask for it.
        timeout_ms: how long a `/meta/connect` is held.
        interval_ms: the pause that the advice asks for between connects.
        max_interval_ms: how long a session lives without a `/meta/connect`, beyond `interval_ms`.
        http_session_s: idle life of a login.
        poll_refreshes_login: whether CometD requests count as activity of the login; sites may differ.
        disposition_key: user data key that SetDisposition writes where the request names none.
        names_disposition_key: whether the settings of `GET me?subresources=*` tell that key; sites may differ.
        server_time: adds `metrics.eventProcessing.serverGenerationTimestamp` to chat notifications.
        full_user_data: whether PropertiesUpdated carries all user data (True) or only the changed keys (False).
            None is what the documented samples show: SetDisposition brings its own key, everything else all of it.
        second_session_hears: whether a login that has not started a contact-center session gets chat events.
        first_reference_id: `referenceId` of the first operation; 34 is that of the documented sample.
        subresources: the media whose interactions `GET me?subresources=` knows.
        supervisors: number of supervisors; they are named supervisor1, supervisor2, …
        groups: groups of agents, each with its name and its members.
        groups_list_users: whether groups come with their users, or these have to be asked for.
        users_page: the most users in one answer; None if the site knows no pages.
        supervisor_needs_session: whether Monitor wants a contact-center session.
        supervisor_hears_properties: whether PropertiesUpdated is among what a supervisor hears.
        supervisor_dropped_on_leave: whether a supervisor loses a chat when its last agent leaves it, completed or not.
        monitoring_survives_login: whether monitoring outlives the login that asked for it.
        monitor_again: whether Monitor is granted for an agent who is monitored already.
        intrude: whether a supervisor can join chats under way, and list an agent's chats.
        ledger_limit: number of published PropertiesUpdated that are remembered.
    """

    host: str = "127.0.0.1"
    port: int = 0
    agents: int = 3
    password: str = "secret"  # noqa: S105 - the public password of invented agents
    csrf: bool = False
    csrf_header: str = "X-CSRF-TOKEN"
    ack: bool = False
    timeout_ms: int = 30_000
    interval_ms: int = 0
    max_interval_ms: int = 10_000
    http_session_s: float = 1800.0
    poll_refreshes_login: bool = True
    disposition_key: str = "DispositionCode"
    names_disposition_key: bool = True
    server_time: bool = True
    full_user_data: bool | None = None
    second_session_hears: bool = True
    first_reference_id: int = 34
    subresources: tuple[str, ...] = ("chat", "email", "voice")
    supervisors: int = 0
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    groups_list_users: bool = True
    users_page: int | None = None
    supervisor_needs_session: bool = True
    supervisor_hears_properties: bool = True
    supervisor_dropped_on_leave: bool = False
    monitoring_survives_login: bool = False
    monitor_again: bool = True
    intrude: bool = True
    ledger_limit: int = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkingDay:
    """A scenario to play: how many disposition changes, seconds between steps, the seed of its dice, of which media."""

    events: int
    pace_s: float = 0.5
    seed: int = 1
    media: tuple[str, ...] = ("chat",)
