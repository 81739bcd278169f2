"""How a supervisor's team stands, for those who look and for the next process."""

import msgspec

Before = tuple[int, int]
"""How long before another a moment was, in milliseconds: by the monotonic clock, and by what the wall clock showed.

The first is -1 where only the wall clock tells: the machine was started since.
"""


class TeamState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a supervisor had heard of its team when its session was seen; times are before `SessionState.seen_ms`.

    All agents but the `missing` were certainly monitored up to then, or up to `behind` before; with `ended` that was
    when the monitoring was cancelled. Each of `missing` has not been since that long. Since `untold` nothing has shown
    that the server tells supervisors what is set; None if something has. Since `revoked` the supervisor may be missing
    chats that it was taken out of, `lost` if it certainly is; with `kept` the server has been seen to keep it in a chat
    that its agent had left.
    """

    behind: Before | None = None
    ended: bool = False
    missing: tuple[tuple[str, Before], ...] = ()
    untold: Before | None = None
    revoked: Before | None = None
    lost: bool = False
    kept: bool = False


class TeamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a supervisor's team stands: how many agents are `wanted`, and how many of them monitored.

    `troubled` are the first of those that should be and are not, each with the reason; `trouble` is why the list of
    agents itself could not be read. `told` is False once the server has turned out not to tell the supervisor what is
    set in its chats. `revoked` says that codes set after an agent has left a chat may not be heard.
    """

    wanted: int = 0
    monitored: int = 0
    troubled: tuple[tuple[str, str], ...] = ()
    trouble: str | None = None
    told: bool = True
    revoked: bool = False

    @property
    def problem(self) -> str | None:
        """What keeps the supervisor from hearing all of its team, in words; None if nothing does."""
        if self.trouble is not None:
            return f"does not know its team: {self.trouble}"
        if self.troubled:
            name, why = self.troubled[0]
            more = self.wanted - self.monitored - 1
            others = f", and {more} more" if more else ""
            return f"does not monitor {self.wanted - self.monitored} of {self.wanted} agents: {name} ({why}){others}"
        if not self.told:
            return "is not told what is set in the chats of its team: only what reading them finds is recorded"
        return None
