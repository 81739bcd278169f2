"""Every error that the listener raises on purpose.

ListenerError
  ConfigError               the configuration; carries all problems at once (exit status 78)
  StartError                the host: port in use, file not writable (exit status 1)
  JournalError              the journal could not do what was asked; nothing of the batch is stored
    JournalLocked           another process owns it
    JournalFull             no room: disk, quota or the configured limit
    JournalUncertain        a shared journal's answer was lost: what was asked may have been done
  JournalStale              the journal knows more of some chats than the batch does; nothing of the batch is stored
  JournalFenced             this process was taken for gone, and others have its duties
  JournalDamaged            what is stored cannot be read; the next start sets it aside
  WebServicesError          an answer of the REST API that is not success
    LoginRefused            statusCode 20, HTTP 401 or 403
    CsrfRejected            the CSRF header is missing or expired
    ParameterMissing        statusCode 1
    ParameterInvalid        statusCode 2: invalid, or not in this state
    OperationForbidden      statusCode 3 or 5
    NotFound                statusCode 6
    ServerFault             statusCode 4, HTTP 5xx, an answer that is not JSON
    Unreachable             no answer: DNS, TCP, TLS, timeout
  CometdError               the CometD session
    ExchangeFailed          one request brought no usable answer: network, HTTP status, body
      NoBayeux              the body is something else, such as a page
  ControlError              the control socket: a command was refused, or not answered
    NoDaemon                no daemon listens there
    DaemonEnded             the daemon closed the connection before it answered
    NotPossible             a sink cannot do it: for what it is, for what it does, or since another replica has it
  HttpRefused               a request to our own HTTP side is refused; `reason` is a metric label
  NotificationRefused       one notification cannot be used; `reason` is a metric label
  Outcome                   the outcome of a batch that a sink did not take completely
    Retry                   later, unchanged
    Park                    a person is needed
    Reject                  these events, never
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises of bytes that are no such JSON, hold a text that is no UTF-8, or are too deep."""


class ListenerError(Exception):
    """Root of the tree."""

    exit_status = 1


class Problem:
    """One thing wrong with the configuration: where, and what was expected."""

    __slots__ = ("path", "text")

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text

    def __repr__(self) -> str:
        return f"Problem({self.path!r}, {self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and (self.path, self.text) == (other.path, other.text)

    def __hash__(self) -> int:
        return hash((self.path, self.text))

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class ConfigError(ListenerError):
    """The configuration cannot be used; `problems` holds all of them."""

    exit_status = 78

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


class StartError(ListenerError):
    """The host does not let the daemon start; the text names the setting, or `problems` hold all that are known."""

    def __init__(self, text: str = "", *, problems: Sequence[Problem] = ()) -> None:
        super().__init__(text or "; ".join(map(str, problems)))
        self.problems = tuple(problems)


class JournalError(ListenerError):
    """The journal could not do what was asked."""


class JournalLocked(JournalError):
    """Another process owns this journal."""


class JournalFull(JournalError):
    """There is no room for the batch."""


class JournalStale(ListenerError):
    """The batch was classified against other last values of some chats than there are: learn these, and classify again.

    It has taken them for new, or another replica has written since. No JournalError either.

    Attributes:
        chat_ids: of those chats.
    """

    def __init__(self, chat_ids: Sequence[str]) -> None:
        super().__init__(f"the journal has other last values of {len(chat_ids)} chats than the batch goes by")
        self.chat_ids = tuple(chat_ids)


class JournalUncertain(JournalError):
    """The answer of a shared journal's database was lost: what was asked may have been done."""


class JournalFenced(ListenerError):
    """This process was taken for gone, and others have its duties: it may confirm nothing, and has to join anew.

    Not a JournalError: trying again does not help.
    """


class JournalDamaged(ListenerError):
    """What the journal holds cannot be read, and a retry will not help: the next start repairs it.

    Not a JournalError: whatever waits for a failing journal must not wait for this one.
    """


class WebServicesError(ListenerError):
    """The REST API did not do what was asked.

    Attributes:
        http_status: status of the response, None without one.
        status_code: `statusCode` of the JSON body, None without one.
    """

    def __init__(self, text: str, *, http_status: int | None = None, status_code: int | None = None) -> None:
        super().__init__(text)
        self.http_status = http_status
        self.status_code = status_code


class LoginRefused(WebServicesError):
    """The server does not know this user, or does not any more."""


class CsrfRejected(WebServicesError):
    """The CSRF header is missing or expired."""


class ParameterMissing(WebServicesError):
    """A parameter is missing."""


class ParameterInvalid(WebServicesError):
    """A parameter is invalid, or the operation is not possible in this state."""


class OperationForbidden(WebServicesError):
    """The user may not do this."""


class NotFound(WebServicesError):
    """There is no such resource."""


class ServerFault(WebServicesError):
    """The server failed, or answered with something that is not its JSON.

    `retry_after_s` is what the server asked for, in seconds.
    """

    def __init__(
        self,
        text: str,
        *,
        http_status: int | None = None,
        status_code: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(text, http_status=http_status, status_code=status_code)
        self.retry_after_s = retry_after_s


class Unreachable(WebServicesError):
    """There was no answer."""


class CometdError(ListenerError):
    """The CometD session."""


class ExchangeFailed(CometdError):
    """One request brought no usable answer.

    Attributes:
        http_status: status of the response, None without one.
        retry_after_s: what the server asked for, in seconds.
        maybe_lost: the server may have answered nevertheless, and the events that it wrote into its answer are gone
            unless the ack extension brings them again. True unless it is certain that nothing was sent.
        answered: an answer came, if not one of use: the server writes nothing into it any more. Behind a gateway that
            fails, a time that is over or a connection that is reset, it may write one yet.
    """

    def __init__(
        self,
        text: str,
        *,
        http_status: int | None = None,
        retry_after_s: float | None = None,
        maybe_lost: bool = True,
        answered: bool = False,
    ) -> None:
        super().__init__(text)
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        self.maybe_lost = maybe_lost
        self.answered = answered

    @property
    def reason(self) -> str:
        """A metric label: `network`, or the status as in `http_502`."""
        return "network" if self.http_status is None else f"http_{self.http_status}"


class NoBayeux(ExchangeFailed):
    """The body holds no Bayeux message: it may be a gateway's page, to log in with for one."""


class ControlError(ListenerError):
    """A command to the running daemon was refused, or there was no answer."""


class NoDaemon(ControlError):
    """No daemon runs on this journal."""


class DaemonEnded(ControlError):
    """The daemon closed the connection before it answered a command; it may have executed it."""


class NotPossible(ControlError):
    """A sink that there is cannot do it, for what it is or what it does now, or since another replica has it."""


class HttpRefused(ListenerError):
    """A request to our own HTTP side is answered with an error; the text is for the client.

    Attributes:
        status: of the response.
        reason: a short fixed word, fit for a metric label.
        headers: of the response.
    """

    def __init__(self, status: int, reason: str, text: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


class NotificationRefused(ListenerError):
    """One notification cannot be used. `reason` is a short fixed word, fit for a metric label."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason


class Outcome(ListenerError):
    """The outcome of a batch that a sink did not take completely.

    Attributes:
        reason: for the log and the status, so it quotes no event.
        delivered: indexes of the events in the batch that are durable at the destination nevertheless.
        detail: the destination's answer, which may quote an event; only a dead letter keeps it.
    """

    def __init__(self, reason: str, *, delivered: frozenset[int] = frozenset(), detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.delivered = delivered
        self.detail = detail


class Retry(Outcome):
    """Not now: the lane retries the rest, after `after_s` seconds if the destination named a time."""

    def __init__(
        self, reason: str, *, after_s: float | None = None, delivered: frozenset[int] = frozenset(), detail: str = ""
    ) -> None:
        super().__init__(reason, delivered=delivered, detail=detail)
        self.after_s = after_s


class Park(Outcome):
    """A person is needed (401, 403, a missing topic): the lane stops and keeps everything.

    Attributes:
        disabled: the destination wants no more events (410): only `sinks resume` ends it, no restart.
    """

    def __init__(
        self, reason: str, *, disabled: bool = False, delivered: frozenset[int] = frozenset(), detail: str = ""
    ) -> None:
        super().__init__(reason, delivered=delivered, detail=detail)
        self.disabled = disabled


class Refusal(NamedTuple):
    """Why an event can never be taken: in our words, and in the destination's, which may quote the event."""

    reason: str
    answer: str = ""


class Reject(Outcome):
    """Some events can never be taken: they become dead letters, the rest continues.

    A sink that rejects several events of a call names all of them: whatever it does not name is delivered again.

    Attributes:
        index: one of them; its reason is that of the outcome.
        rejected: the others by index, each with what its dead letter keeps.
        after_s: seconds until the rest may be delivered, if the destination named a time.
        in_a_row: those that the destination refused after the last event that it took, by default those that stand
            behind it: too many in a row park the sink. What the sink itself finds to be unfit is none of them.
    """

    def __init__(
        self,
        index: int,
        reason: str,
        *,
        rejected: Mapping[int, Refusal] | None = None,
        after_s: float | None = None,
        delivered: frozenset[int] = frozenset(),
        detail: str = "",
        in_a_row: frozenset[int] | None = None,
    ) -> None:
        super().__init__(reason, delivered=delivered, detail=detail)
        self.index = index
        self.after_s = after_s
        self.rejected = dict(rejected or {})
        last = max(delivered, default=-1)
        self.in_a_row = frozenset(i for i in self.letters if i > last) if in_a_row is None else in_a_row

    @property
    def letters(self) -> dict[int, Refusal]:
        """The rejected events by index, in the batch's order, each with what its dead letter keeps."""
        return dict(sorted({**self.rejected, self.index: Refusal(self.reason, self.detail)}.items()))
