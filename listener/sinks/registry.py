"""Sink kinds, found through the entry points `listener.sinks` and imported only when they are configured."""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points, requires
from os import environ
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from listener.config import schema
from listener.config.login import LoginSettings
from listener.config.schema import Folders, did_you_mean, from_text, problems_of
from listener.errors import ConfigError, Problem
from listener.model.event import Event
from listener.model.forms import CLOUD_EVENT, Form, FormName, form_of
from listener.ports import Sink
from listener.runtime.host import THIS_HOST, Host

GROUP = "listener.sinks"
_DISTRIBUTION = "disposition-listener"
_BUILT_IN = {"amqp", "file", "kafka", "nats", "postgres", "redis", "stdout", "syslog", "webhook"}

S = TypeVar("S", bound=BaseModel)


class Lane(Protocol):
    """What the configuration says of one sink."""

    @property
    def type(self) -> str:
        """The name of its kind."""

    @property
    def format(self) -> FormName:
        """How its events are written."""

    @property
    def template(self) -> str | None:
        """The template of `format = "template"`."""

    @property
    def template_type(self) -> str:
        """The media type of what the template makes."""

    @property
    def options(self) -> dict[str, Any]:
        """The kind's own keys."""

    @property
    def shared_keys(self) -> tuple[str, ...]:
        """The names of the other keys, which every kind has."""


class Recalled(NamedTuple):
    """What the journal has of the events that were asked for, as the sink would get them, and its highest sequence."""

    events: Sequence[Event]
    last: int


Recall = Callable[[Sequence[int]], Awaitable[Recalled]]
"""Asks the journal for the events of these sequences, in rising order. Raises JournalError."""


def _count_nothing(_metric: str, _amount: int) -> None:
    """Where nobody looks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkContext:
    """What a kind may know of its surroundings.

    Attributes:
        name: the sink's name.
        base: the folder that relative paths start from.
        form: how its events are written.
        host: time, chance and workers.
        recall: what the sink may ask the journal, for a destination that can be held against it; None without a
            journal.
        count: adds to a counter of the sink, by the name that `runtime/metrics.py` has for it.
    """

    name: str
    base: Path
    form: Form = CLOUD_EVENT
    host: Host = THIS_HOST
    recall: Recall | None = None
    count: Callable[[str, int], None] = _count_nothing

    def setting(self, key: str) -> str:
        """The dotted path of one of the sink's keys, as errors name it."""
        return f"sinks.{self.name}.{key}"


def _nothing(_context: SinkContext, _settings: Any) -> Iterable[tuple[str, str]]:
    return ()


def _no_problems(_settings: BaseModel, _form: FormName) -> Iterable[tuple[str, str]]:
    return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkKind(Generic[S]):
    """What an entry point of the group `listener.sinks` leads to.

    Attributes:
        name: the value of `type` in the configuration, and the entry point's name.
        settings: the kind's own keys; a model that refuses unknown ones (`listener.config.schema.Section`).
        build: makes the sink; may import a client library, must not touch disk or network.
        extra: the extra of the distribution that brings the client library, None if none is needed.
        single: whether a configuration may hold one sink of this kind only, because it takes something that the
            process has once.
        holds_once: whether its destination is to hold each event once, so that nothing may be delivered to it again.
        pinned: whether its destination is the host's own: where replicas share the journal, `on` has to name one.
        retry_horizon_s: for how long its lanes try a batch that fails, unless the configuration says otherwise; None
            for ever.
        retry_event_after_s: for how long a single event is tried that fails while others are taken, likewise.
        problems: what is wrong with its keys beside the `format` of the sink's table: pairs of a key, and why.
        newest: the highest sequence at the destination, and when its event came (epoch milliseconds), where that can
            be told from the host alone; None if it cannot. Blocks, and does not raise.
        refusals: what the host refuses at this moment, found without a connection or a change: likewise.
    """

    name: str
    settings: type[S]
    build: Callable[[SinkContext, S], Sink]
    extra: str | None = None
    single: bool = False
    holds_once: bool = False
    pinned: bool = False
    retry_horizon_s: float | None = None
    retry_event_after_s: float | None = None
    problems: Callable[[S, FormName], Iterable[tuple[str, str]]] = _no_problems
    newest: Callable[[SinkContext, S], tuple[int, int] | None] = lambda _context, _settings: None
    refusals: Callable[[SinkContext, S], Iterable[tuple[str, str]]] = _nothing


def kinds() -> dict[str, EntryPoint]:
    """Every installed kind, by name and not yet imported. A built-in kind cannot be replaced."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        if point.name not in found or point.value.startswith(f"{GROUP}."):
            found[point.name] = point
    return found


class Setting(NamedTuple):
    """A key of a kind, and its default as it would be written; `required` and `unset` stand for none."""

    key: str
    default: str


class Installed(NamedTuple):
    """A kind that can be named here. `problem` tells why it cannot be used; its settings are unknown then."""

    name: str
    origin: str
    settings: tuple[Setting, ...] = ()
    problem: str | None = None


def installed(point: EntryPoint) -> Installed:
    """What a kind is and takes; imports it."""
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist is not None else "unknown distribution"
    origin = f"{point.module}, {distribution}"
    try:
        kind = _load(point.name, point.name)
    except ConfigError as exc:
        return Installed(point.name, origin, problem="; ".join(problem.text for problem in exc.problems))
    fields = kind.settings.model_fields.items()
    return Installed(point.name, origin, tuple(Setting(key, _written(field)) for key, field in fields))


def _written(field: FieldInfo) -> str:
    """A default in the words of TOML. Defaults hold no secrets."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return "unset"
    return json.dumps(value, default=str, ensure_ascii=False)


def problems(name: str, lane: Lane, base: Path = Path()) -> list[Problem]:
    """Everything wrong with the kind and the kind's own keys of one sink; empty when it can be built.

    Args:
        name: the sink's name.
        lane: its table.
        base: the folder that relative paths start from.
    """
    try:
        build(name, lane, base=base)
    except ConfigError as exc:
        return list(exc.problems)
    return []


def problems_of_all(lanes: Mapping[str, Lane], base: Path = Path()) -> list[Problem]:
    """Everything wrong with the sinks of a configuration: with each one alone, and with them side by side.

    Args:
        lanes: their tables by name.
        base: the folder that relative paths start from.
    """
    alone = [problem for name, lane in lanes.items() for problem in problems(name, lane, base)]
    return [*alone, *_problems_side_by_side(lanes)]


def _problems_side_by_side(lanes: Mapping[str, Lane]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for name, lane in lanes.items():
        other = first.setdefault(lane.type, name)
        if other != name and _is_single(name, lane.type):
            text = f'"{lane.type}" can be used once, sinks.{other} has it already'
            yield Problem(f"sinks.{name}.type", text)


def _is_single(name: str, wanted: str) -> bool:
    try:
        return _load(name, wanted).single
    except ConfigError:  # told of each sink alone
        return False


def build(
    name: str,
    lane: Lane,
    *,
    base: Path,
    host: Host = THIS_HOST,
    recall: Recall | None = None,
    count: Callable[[str, int], None] = _count_nothing,
) -> Sink:
    """The sink, not yet opened. For `recall` and `count` see `SinkContext`.

    Raises:
        ConfigError: with everything that `problems` tells.
    """
    kind, settings = _settings(name, lane, base)
    try:
        form = form_of(lane.format, lane.template, lane.template_type)
        context = SinkContext(name=name, base=base, form=form, host=host, recall=recall, count=count)
        return kind.build(context, settings)
    except ImportError as exc:
        raise ConfigError([_missing(name, kinds()[lane.type], kind.extra, exc)]) from exc


def newest(name: str, lane: Lane, base: Path) -> tuple[int, int] | None:
    """The highest sequence at the destination of a sink, as its kind tells. Raises ConfigError as `build`."""
    kind, settings = _settings(name, lane, base)
    form = form_of(lane.format, lane.template, lane.template_type)
    return kind.newest(SinkContext(name=name, base=base, form=form), settings)


def input_files(name: str, lane: Lane, base: Path) -> list[Path]:
    """The files that a sink reads: secrets, certificates, keys. Raises ConfigError as `build`."""
    return [base / path for path in schema.input_files(_settings(name, lane, base)[1])]


def named_input_files(name: str, lane: Lane, base: Path) -> list[tuple[str, Path]]:
    """The same with the settings that name them; none where the sink's keys are wrong."""
    try:
        settings = _settings(name, lane, base)[1]
    except ConfigError:
        return []
    return [(place, base / path) for place, path in schema.named_input_files(settings, f"sinks.{name}")]


def secrets_of(name: str, lane: Lane, base: Path) -> list[str]:
    """The secrets that stand in a sink's table itself; none where its keys are wrong."""
    try:
        return list(schema.secrets_of(_settings(name, lane, base)[1]))
    except ConfigError:
        return []


def host_problems(name: str, lane: Lane, base: Path) -> list[Problem]:
    """What the host refuses a sink at this moment, without a connection; nothing where its keys are wrong. Blocks."""
    return _told(name, lane, base, lambda kind, context, settings: kind.refusals(context, settings))


def exposures(name: str, lane: Lane, base: Path) -> list[Problem]:
    """Which of a sink's logins may pass a network unencrypted; likewise."""
    return _told(name, lane, base, lambda _kind, _context, settings: _exposures(settings))


def _exposures(settings: BaseModel) -> Iterable[tuple[str, str]]:
    return settings.exposures() if isinstance(settings, LoginSettings) else ()


def _told(
    name: str, lane: Lane, base: Path, tell: Callable[[SinkKind[Any], SinkContext, Any], Iterable[tuple[str, str]]]
) -> list[Problem]:
    try:
        kind, settings = _settings(name, lane, base)
    except ConfigError:
        return []
    context = SinkContext(name=name, base=base)
    return [Problem(context.setting(key), text) for key, text in tell(kind, context, settings)]


class Patience(NamedTuple):
    """For how many seconds of attempts the lanes of a kind try what fails; None for ever."""

    horizon_s: float | None
    event_after_s: float | None


def patience(name: str, lane: Lane) -> Patience:
    """What the kind of a sink says of its lanes. Raises ConfigError: there is no such kind."""
    kind = _load(name, lane.type)
    return Patience(kind.retry_horizon_s, kind.retry_event_after_s)


def is_pinned(name: str, lane: Lane) -> bool:
    """Whether the kind of a sink wants a replica that alone may have it. Raises ConfigError: there is no such kind."""
    return _load(name, lane.type).pinned


def holds_once(name: str, kind: str) -> bool:
    """Whether nothing may be delivered again to a sink of this kind. Raises ConfigError: there is no such kind."""
    return _load(name, kind).holds_once


def _settings(name: str, lane: Lane, base: Path) -> tuple[SinkKind[Any], BaseModel]:
    kind = _load(name, lane.type)
    fields = kind.settings.model_fields
    options = {
        key: from_text(fields[key].annotation, value) if key in fields and isinstance(value, str) else value
        for key, value in lane.options.items()
    }
    try:
        settings = kind.settings.model_validate(options, context=Folders.of(base, environ))
    except ValidationError as exc:
        prefix = ("sinks", name)
        raise ConfigError(problems_of(exc, kind.settings, prefix=prefix, also_known=lane.shared_keys)) from exc
    if found := [Problem(f"sinks.{name}.{key}", text) for key, text in kind.problems(settings, lane.format)]:
        raise ConfigError(found)
    return kind, settings


def _load(name: str, wanted: str) -> SinkKind[Any]:
    place = f"sinks.{name}.type"
    point = _found(wanted)
    if point is None:
        known = kinds()
        text = f"unknown kind {wanted!r}{did_you_mean(wanted, known)} (known: {', '.join(known)})"
        raise ConfigError([Problem(place, text)])
    try:
        kind = point.load()
    except ImportError as exc:
        raise ConfigError([_missing(name, point, None, exc)]) from exc
    except AttributeError as exc:
        raise ConfigError([Problem(place, f"{point.value} does not exist")]) from exc
    if not isinstance(kind, SinkKind):
        raise ConfigError([Problem(place, f"{point.value} is not a SinkKind")])
    return kind


def _found(wanted: str) -> EntryPoint | None:
    """The kind of this name. For a built-in one the installed distributions are not searched: that takes as long."""
    if wanted in _BUILT_IN:
        return EntryPoint(wanted, f"{GROUP}.{wanted}:KIND", GROUP)
    return kinds().get(wanted)


def _missing(name: str, point: EntryPoint, extra: str | None, exc: ImportError) -> Problem:
    """The way out of a missing client library: the extra of the kind, of its entry point, or of the kind's name."""
    distribution = point.dist.name if point.dist is not None else _DISTRIBUTION
    extra = extra or next(iter(point.extras), point.name)
    text = f"{point.name!r} needs a package that is not installed ({exc}); {_installation(distribution, extra)}"
    return Problem(f"sinks.{name}.type", text)


def lacking(extra: str) -> str | None:
    """What to do about a client library of an extra of ours that is not installed; None if none is missing."""
    for library in _libraries_of(_DISTRIBUTION, extra):
        try:
            distribution(re.split(r"[^\w.-]", library, maxsplit=1)[0])
        except PackageNotFoundError:
            return f"needs a package that is not installed; {_installation(_DISTRIBUTION, extra)}"
    return None


def _installation(distribution: str, extra: str) -> str:
    wanted = _libraries_of(distribution, extra) or [f"{distribution}[{extra}]"]
    return "run pip install " + " ".join(f"'{one}'" for one in wanted)


def _libraries_of(distribution: str, extra: str) -> list[str]:
    """What an extra brings: pip finds that by name, also where the distribution came from a clone or a file."""
    try:
        required = requires(distribution) or []
    except PackageNotFoundError:
        return []
    parts = [one.partition(";") for one in required]
    return [library.strip() for library, _, marker in parts if marker.strip() == f'extra == "{extra}"']
