"""How long the server keeps a session, and so when to try again: the one policy of pauses, logins and patience."""

from collections.abc import Callable
from http import HTTPStatus

from listener.cometd.protocol import Session
from listener.errors import ExchangeFailed, NoBayeux
from listener.runtime.backoff import Backoff

LONGEST_PAUSE_S = 60.0
"""No server is asked less often without a session, whatever it says: nobody listens meanwhile."""
SHARE = 0.2
"""Of maxInterval: the longest that is waited between requests which keep a session that lives."""

_GROWTH = 0.1
_GROWTH_LIMIT_S = 30.0
_LEAST_S = 0.05
_CONNECTING_SHARE = 1 / 3
_LEAST_CONNECTING_S = 1.0
_LOGINS_APART_S = 4.0
_LOGIN_SHARE = 0.4
_ANSWER_SHARE = 2 / 3
_LEAST_ANSWER_S = 5.0


class Lease:
    """A session that can still live is never given up.

    A server keeps a session, and all that it has queued for it, for `maxInterval` after the last connect. So the next
    pause is measured by how long exchanges have failed: a tenth of that, which makes a gap at most a tenth longer than
    its cause, at first at most `spread_s` and at most a fifth of maxInterval. What the server asks for (Retry-After, an
    advised interval) is waited for as far as the session outlives it: obeyed in full it would cost the session, and
    there is room for several attempts all the same. Only once the session can be alive no more, the server is obeyed up
    to LONGEST_PAUSE_S.

    Args:
        session: whose server keeps it, and how long.
        now_s: seconds that only run forward.
        uniform: chance, `random.uniform` by signature: many sessions that failed together do not return together.
        spread_s: over how long the requests of all sessions are spread.

    Attributes:
        login_in_vain: no connect was granted since a login was, which a refusal had called for.
    """

    __slots__ = (
        "_failing_since_s",
        "_had_page",
        "_held_until_s",
        "_interval_told",
        "_logins",
        "_next_login_s",
        "_now_s",
        "_session",
        "_spread_s",
        "_uniform",
        "login_in_vain",
    )

    def __init__(
        self,
        *,
        session: Session,
        now_s: Callable[[], float],
        uniform: Callable[[float, float], float],
        spread_s: float = 1.0,
    ) -> None:
        self._session = session
        self._now_s = now_s
        self._uniform = uniform
        self._spread_s = spread_s
        self._failing_since_s: float | None = None
        self._held_until_s = 0.0
        self._had_page = False  # since a connect was granted last
        # Directories lock users who log in too often.
        self._logins = Backoff(first_s=_LOGINS_APART_S, limit_s=60.0, floor_s=2.0, uniform=uniform)
        self._next_login_s = 0.0
        self._interval_told = False
        self.login_in_vain = False

    # --- what happened --------------------------------------------------------------------------------------------

    def began(self) -> None:
        """A handshake was granted."""
        self._failing_since_s = None
        self._interval_told = False

    def renewed(self) -> None:
        """A connect was granted.

        That does not tell that the login holds: behind two nodes without stickiness every second poll is granted.
        """
        self._failing_since_s = None
        self._had_page = self.login_in_vain = False
        self._logins.reset()
        apart_s = min(_LOGINS_APART_S, self._session.lifetime_s * _LOGIN_SHARE)
        self._next_login_s = min(self._next_login_s, self._now_s() + apart_s)

    def failed(self) -> None:
        """An exchange or a login failed, or was refused."""
        if self._failing_since_s is None:
            self._failing_since_s = self._now_s()

    def unanswered(self, held_s: float) -> None:
        """A poll got no answer: the server may hold it for so long yet, and keeps the session from then on."""
        self._held_until_s = self._now_s() + held_s

    def tried_login(self) -> float:
        """There was a login, whatever became of it. Returns for how many seconds there may be no other.

        They grow until a connect is granted.
        """
        wait_s = self._logins.next()
        self._next_login_s = self._now_s() + wait_s
        return wait_s

    def logged_in(self) -> None:
        """A login was granted after a refusal: only what comes after the first one tells of the session.

        What was refused until then, by a gateway perhaps, may have kept it.
        """
        self.tried_login()
        if not self.login_in_vain:
            self.login_in_vain, self._failing_since_s = True, None

    # --- what follows ---------------------------------------------------------------------------------------------

    def is_over(self) -> bool:
        """Whether the session cannot be alive any more, unless later requests that failed have reached the server.

        A server that advises an interval allows for it beside maxInterval.
        """
        kept_s = self._session.lifetime_s + self._session.interval_ms / 1000
        return min(self._away_s(), self._now_s() - self._held_until_s) > kept_s

    def may_live(self) -> bool:
        """Whether there is a session, and the server may still have it."""
        return self._session.client_id is not None and not self.is_over()

    def may_log_in(self) -> bool:
        """Whether it is time for a login; the exchanges that keep the session alive go on without."""
        return self._now_s() >= self._next_login_s

    def suspects_login(self, failure: ExchangeFailed) -> bool:
        """To be asked of each failure: whether it is time for a login since a second one is a page, or leads to one.

        So gateways say that a login ran out. Of a single one it is not believed: a supervisor's login costs its team.
        """
        status = failure.http_status or HTTPStatus.OK
        page = isinstance(failure, NoBayeux) or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
        is_second = page and self._had_page
        self._had_page = self._had_page or page
        return is_second and self.may_log_in()

    def pause_s(self) -> float:
        """The pause before the next attempt."""
        most_s = self._session.lifetime_s * SHARE
        cap_s = max(min(self._spread_s, most_s), min(self._away_s() * _GROWTH, _GROWTH_LIMIT_S))
        return max(_LEAST_S, self._uniform(cap_s / 2, cap_s))

    def obeyed_s(self, asked_s: float, *, refused: bool = False) -> float:
        """As much of a pause that the server asks for as is waited for, and up to a tenth more.

        The advised interval counts, too, but was for the polls of its session, unless what is refused says it again.
        """
        may_live = self.may_live()
        if may_live or refused:
            asked_s = max(asked_s, self._session.advised_interval_ms / 1000)
        most_s = self._session.lifetime_s * SHARE if may_live else LONGEST_PAUSE_S
        return min(asked_s, most_s) * self._uniform(1.0, 1.0 + _GROWTH)

    def interval_cut_short(self) -> str | None:
        """What to tell, once a session, of an advised interval that it would not outlive; see `Session.interval_ms`."""
        session = self._session
        if self._interval_told or session.advised_interval_ms <= session.interval_ms:
            return None
        self._interval_told = True
        advised_s, obeyed_s = session.advised_interval_ms / 1000, session.interval_ms / 1000
        return f"advice.interval is {advised_s:g} s, maxInterval {session.lifetime_s:g} s: a poll every {obeyed_s:g} s"

    def connecting_s(self, configured_s: float) -> float:
        """The time for a connection to come about: a packet that got lost must not cost the session."""
        least_s = max(_LEAST_CONNECTING_S, self._session.lifetime_s * _CONNECTING_SHARE)
        return min(configured_s, max(least_s, self._away_s()))

    def margin_s(self, configured_s: float) -> float:
        """The time beyond the advised hold after which an exchange counts as dead: the session has to outlive it.

        A server that is slow gets more of it with each attempt.
        """
        least_s = max(_LEAST_ANSWER_S, self._session.lifetime_s * _ANSWER_SHARE)
        return min(configured_s, max(least_s, self._away_s()))

    def _away_s(self) -> float:
        """How long exchanges have failed now."""
        return 0.0 if self._failing_since_s is None else self._now_s() - self._failing_since_s
