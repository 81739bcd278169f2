"""HTTP sessions: Basic login, JSESSIONID, CSRF, idle life."""

import binascii
from base64 import b64decode
from collections.abc import Collection
from dataclasses import dataclass

from listener.runtime.host import Host
from listener.simulator.options import SimulatorOptions
from listener.simulator.wire import Call, Reply, json_reply, plain_reply

COOKIE = "JSESSIONID"
OPEN_PATHS = frozenset({"/api/v2/diagnostics/version"})


@dataclass(kw_only=True, slots=True)
class HttpSession:
    """What the server keeps under one JSESSIONID. `user` is None before a login; `seen_s` is monotonic."""

    id: str
    user: str | None
    csrf_token: str
    seen_s: float
    in_contact_center: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """The verdict on one request: a session, or the answer that refuses it; and what the answer must carry."""

    session: HttpSession | None
    refusal: Reply | None
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[tuple[str, str], ...] = ()


class Logins:
    """Lets requests in. Without a login the answer is 403 with statusCode 20, never 401."""

    def __init__(self, *, options: SimulatorOptions, users: Collection[str], host: Host) -> None:
        self._host = host
        self._options = options
        self._users = users
        self._clock_s = host.clock.monotonic_s
        self._sessions: dict[str, HttpSession] = {}  # the one seen longest ago comes first
        self._refused_until_s = float("-inf")
        self.csrf = options.csrf
        self.csrf_header = options.csrf_header

    def __len__(self) -> int:
        return len(self._sessions)

    def admit(self, call: Call) -> Admission:
        """Judge a request: CSRF first, then the login, as a servlet filter chain does."""
        found = self._find(call)
        if self._forged(call, found):
            return Admission(session=None, refusal=plain_reply("Missing or invalid Csrf token", status=403))
        session, refused = self._authenticate(call, found)
        if session is None and self.csrf and call.method == "GET":
            session = self._create(None)  # even a stranger gets a token, and the session that it is bound to
        return Admission(
            session=session,
            refusal=_denied() if self._closed(call, session, refused=refused) else None,
            headers=self._csrf_headers(call, session),
            cookies=((COOKIE, session.id),) if session is not None and session is not found else (),
        )

    def may_hear(self, session_id: str) -> bool:
        """Whether chat events go to CometD sessions of this login."""
        session = self._sessions.get(session_id)
        return self._options.second_session_hears or (session is not None and session.in_contact_center)

    def lives(self, session_id: str) -> bool:
        """Whether this session is known still."""
        self._drop_idle()
        return session_id in self._sessions

    def end(self, session: HttpSession) -> None:
        """Forget one session."""
        self._sessions.pop(session.id, None)

    def end_all(self) -> int:
        """Forget every session; returns how many there were."""
        count = len(self._sessions)
        self._sessions.clear()
        return count

    def refuse(self, seconds: float) -> None:
        """Forget every session, and let nobody log in for so long."""
        self.end_all()
        self._refused_until_s = self._clock_s() + seconds

    def rotate_csrf(self, *, enabled: bool | None = None, header: str | None = None) -> None:
        """Make every token invalid; switch protection on or off, or rename its header, where given."""
        self.csrf = self.csrf if enabled is None else enabled
        self.csrf_header = header or self.csrf_header
        for session in self._sessions.values():
            session.csrf_token = self._host.token(16)

    def _find(self, call: Call) -> HttpSession | None:
        self._drop_idle()
        session = self._sessions.get(call.cookies.get(COOKIE, ""))
        if session is not None and (self._options.poll_refreshes_login or not call.notifications):
            session.seen_s = self._clock_s()
            self._sessions[session.id] = self._sessions.pop(session.id)
        return session

    def _drop_idle(self) -> None:
        limit_s = self._clock_s() - self._options.http_session_s
        while self._sessions:
            oldest = next(iter(self._sessions.values()))
            if oldest.seen_s > limit_s:
                break
            del self._sessions[oldest.id]

    def _forged(self, call: Call, session: HttpSession | None) -> bool:
        if not self.csrf or call.method not in {"POST", "PUT", "DELETE"}:
            return False
        return session is None or call.headers.get(self.csrf_header) != session.csrf_token

    def _authenticate(self, call: Call, found: HttpSession | None) -> tuple[HttpSession | None, bool]:
        """The session that continues, and whether credentials were given that are wrong."""
        authorization = call.headers.get("Authorization")
        if authorization is None:
            return found, False
        user = self._user(authorization)
        if user is None:
            return found, True
        if found is not None and found.user == user:
            return found, False
        return self._create(user), False

    def _user(self, authorization: str) -> str | None:
        scheme, _, credentials = authorization.partition(" ")
        try:
            name, _, password = b64decode(credentials.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        known = scheme.lower() == "basic" and name in self._users and password == self._options.password
        return name if known and self._clock_s() >= self._refused_until_s else None

    def _create(self, user: str | None) -> HttpSession:
        session = HttpSession(
            id=self._host.token(16).upper(), user=user, csrf_token=self._host.token(16), seen_s=self._clock_s()
        )
        self._sessions[session.id] = session
        return session

    def _closed(self, call: Call, session: HttpSession | None, *, refused: bool) -> bool:
        return call.path not in OPEN_PATHS and (refused or session is None or session.user is None)

    def _csrf_headers(self, call: Call, session: HttpSession | None) -> tuple[tuple[str, str], ...]:
        if not self.csrf or session is None or call.method != "GET":
            return ()
        return ("X-CSRF-HEADER", self.csrf_header), ("X-CSRF-TOKEN", session.csrf_token)


def _denied() -> Reply:
    return json_reply({"statusCode": 20, "statusMessage": "Access denied"}, status=403)
