"""`simulate`: a simulated Web Services node for any client."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

import typer

from listener.cli import running
from listener.errors import StartError
from listener.runtime import logs
from listener.simulator import SimulatorOptions, WorkingDay, serve
from listener.simulator.media import MEDIA
from listener.simulator.state import FIRST_CHAT

_ON_A_LINE = 10  # names of accounts
_BODY = '{"operationName": "SetDisposition", "disposition": "IssueResolved"}'


class Switch(StrEnum):
    """What is not the same at each site, or not known of it."""

    NO_PROPERTIES = "no-properties"
    DROP_ON_LEAVE = "drop-on-leave"
    MONITORING_SURVIVES = "monitoring-survives"
    MONITOR_ONCE = "monitor-once"
    NO_INTRUDE = "no-intrude"
    NO_SESSION = "no-session"
    PAGES = "pages"


_SWITCHES: Mapping[Switch, Mapping[str, Any]] = {
    Switch.NO_PROPERTIES: {"supervisor_hears_properties": False},
    Switch.DROP_ON_LEAVE: {"supervisor_dropped_on_leave": True},
    Switch.MONITORING_SURVIVES: {"monitoring_survives_login": True},
    Switch.MONITOR_ONCE: {"monitor_again": False},
    Switch.NO_INTRUDE: {"intrude": False},
    Switch.NO_SESSION: {"supervisor_needs_session": False},
    Switch.PAGES: {"users_page": 100, "groups_list_users": False},
}

PortOption = Annotated[int, typer.Option(min=0, max=65_535, metavar="PORT", help="TCP port; 0 takes a free one.")]
HostOption = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")]
AgentsOption = Annotated[int, typer.Option(min=1, metavar="N", help="How many agents there are: agent1, agent2, …")]
CsrfOption = Annotated[bool, typer.Option("--csrf", help="POST, PUT and DELETE need the CSRF header.")]
AckOption = Annotated[bool, typer.Option("--ack", help="Grant CometD's acknowledge extension.")]
TimeoutOption = Annotated[int, typer.Option(min=0, metavar="MS", help="How long a /meta/connect is held.")]
IntervalOption = Annotated[
    int, typer.Option(min=1, metavar="MS", help="How long a session lives without a /meta/connect.")
]
SupervisorsOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="How many supervisors there are: supervisor1, …; the group is `team`.")
]
SwitchOption = Annotated[
    list[Switch] | None,
    typer.Option(
        "--switch", metavar="WORD", help="What differs from site to site; may come again: " + ", ".join(Switch)
    ),
]
MediaOption = Annotated[
    str, typer.Option("--media", metavar="LIST", help="What comes: of chat, email and voice, with commas between.")
]
EventsOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="Play a working day with this many dispositions once a client listens.")
]
PaceOption = Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="Seconds between two steps of that day.")]


def media_of(text: str) -> tuple[str, ...]:
    """The media of a `--media`. Raises StartError."""
    media = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in media if name not in MEDIA]:
        raise StartError(f"--media: {unknown[0]!r} is none of {', '.join(MEDIA)}")
    return media


def simulate(
    port: PortOption = 8080,
    host: HostOption = "127.0.0.1",
    agents: AgentsOption = 3,
    csrf: CsrfOption = False,
    ack: AckOption = False,
    timeout_ms: TimeoutOption = 30_000,
    max_interval_ms: IntervalOption = 10_000,
    supervisors: SupervisorsOption = 0,
    switch: SwitchOption = None,
    events: EventsOption = 0,
    pace: PaceOption = 0.5,
    media: MediaOption = "chat",
) -> None:
    """Run a simulated Web Services node, for tests.

    It has a few agents and one chat, and runs until Ctrl-C. Any client of the Chat API and of CometD can connect.

    Examples:
        disposition-listener simulate
        # On a free port, with a working day of 50 dispositions:
        disposition-listener simulate --port 0 --ack --events 50

    Exit status:
        0: Stopped with Ctrl-C.
        130: Not used: Ctrl-C ends it with 0.
    """
    options = SimulatorOptions(
        host=host,
        port=port,
        agents=agents,
        csrf=csrf,
        ack=ack,
        timeout_ms=timeout_ms,
        max_interval_ms=max_interval_ms,
        supervisors=supervisors,
        groups=(("team", tuple(f"agent{number}" for number in range(1, agents + 1))),),
    )
    options = replace(options, **{name: value for one in switch or () for name, value in _SWITCHES[one].items()})
    day = WorkingDay(events=events, pace_s=pace, media=media_of(media))
    logs.configure(level="warning")
    try:
        running.run(_serve(options, day if events else None))
    except StartError as exc:
        raise StartError(f"--{exc}") from exc  # it names the option: `port: …`


async def _serve(options: SimulatorOptions, day: WorkingDay | None) -> None:
    def ready(url: str) -> None:
        print("\n".join(_welcome(url, options)), flush=True)

    await running.until_request(serve(options, ready=ready, day=day))


def _welcome(url: str, options: SimulatorOptions) -> Iterator[str]:
    yield f"listening  {url}"
    names = [f"agent{number}" for number in range(1, options.agents + 1)]
    shown = ", ".join(names) if len(names) <= _ON_A_LINE else f"{names[0]} to {names[-1]}"
    yield f"accounts   {shown} (password {options.password!r})"
    if options.supervisors:
        more = f" to supervisor{options.supervisors}" if options.supervisors > 1 else ""
        yield f"           supervisor1{more}, with the same password"
    yield f"chat       {FIRST_CHAT} of agent1"
    yield "try"
    chat = f"{url}/api/v2/me/chats/{FIRST_CHAT}"
    login, post = f"curl -u agent1:{options.password}", f"-H 'Content-Type: application/json' -d '{_BODY}' {chat}"
    if options.csrf:
        yield f"  {login} -s -c cookies -D headers -o answer {url}/api/v2/me"
        yield f"  curl -b cookies -H \"$(grep -i '^{options.csrf_header}:' headers | tr -d '\\r')\" {post}"
    else:
        yield f"  {login} {post}"
    yield "Ctrl-C stops it."
