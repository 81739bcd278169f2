"""Builds what a supervisor has beside an account: its team, and who asks for it."""

from listener.config.schema import did_you_mean
from listener.config.settings import SupervisorSettings
from listener.errors import Problem, WebServicesError
from listener.intake.monitoring import Monitoring
from listener.intake.team import Team
from listener.runtime.host import Host
from listener.runtime.metrics import Metrics
from listener.webservices.supervisor import Person, SupervisorServices
from listener.webservices.team import TeamChats


def team_of(supervisor: SupervisorSettings) -> Team:
    """Whom a supervisor's table names, and how."""
    return Team(
        agents=supervisor.monitor if supervisor.monitor != "all" and supervisor.monitor_group is None else None,
        group=supervisor.monitor_group,
        join_chats=supervisor.join_chats,
        refresh_s=supervisor.refresh_s,
        revoked_is_over=supervisor.revoked_chats == "over",
    )


def differs_in_team_alone(old: object, new: object) -> bool:
    """Whether two tables are of one supervisor, whose session goes on while its team changes."""
    if not isinstance(old, SupervisorSettings) or not isinstance(new, SupervisorSettings):
        return False
    team = {"monitor", "monitor_group", "join_chats", "refresh_s", "revoked_chats"}
    return old.model_dump(exclude=team) == new.model_dump(exclude=team)


def monitoring_of(
    supervisor: SupervisorSettings, services: SupervisorServices, chats: TeamChats, *, metrics: Metrics, host: Host
) -> Monitoring:
    """The monitoring of a supervisor; its decoder learns of the same chats."""
    return Monitoring(
        account=supervisor.username,
        team=team_of(supervisor),
        services=services,
        chats=chats,
        metrics=metrics,
        host=host,
    )


async def team_problems(place: str, supervisor: SupervisorSettings, services: SupervisorServices) -> list[Problem]:
    """What keeps a supervisor from knowing its team: the role, the list of users or of the group, each name."""
    found, key = [], "monitor" if supervisor.monitor_group is None else "monitor_group"
    try:
        me = await services.me()
        if me.roles is not None and not Person(id=me.id, roles=me.roles).supervises:
            roles = ", ".join(map(str, me.roles)) or "none"
            text = f"{supervisor.username!r} has not the role of a supervisor (its roles: {roles})"
            found.append(Problem(f"{place}.username", text))
        people = await (
            services.users() if supervisor.monitor_group is None else services.group(supervisor.monitor_group)
        )
    except WebServicesError as exc:
        return [*found, Problem(f"{place}.{key}", str(exc))]
    names = {one.name for one in people}
    wanted = () if supervisor.monitor == "all" else supervisor.monitor
    for number, name in enumerate(wanted):
        if name not in names:
            text = f"the server lists no user {name!r} among the {len(names)} that {supervisor.username!r} can see"
            found.append(Problem(f"{place}.monitor[{number}]", text + did_you_mean(name, names)))
    if not wanted and not any(not one.supervises for one in people):
        found.append(Problem(f"{place}.{key}", f"there is no agent: the server lists {len(people)} users"))
    return found
