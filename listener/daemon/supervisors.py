"""Builds what a supervisor has beside an account: its team, and who asks for it."""

from listener.config.settings import SupervisorSettings
from listener.intake.monitoring import Monitoring
from listener.intake.team import Team
from listener.runtime.host import Host
from listener.runtime.metrics import Metrics
from listener.webservices.supervisor import SupervisorServices
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
