"""Hours, days, weeks, months and years as a zone counts them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from listener.audit.events import epoch_ms, minutes_of
from listener.model.event import rfc3339

QUARTER_MS = 900_000
"""A quarter of an hour: every zone of the present has its hours begin at one."""

_QUARTER_S = QUARTER_MS // 1000
_MINUTE_MS = 60_000
_MOST_MINUTES = 100_000
_HOUR_S = 3600


class Unit(StrEnum):
    """What a bar of the chart stands for, the smallest first."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class Calendar:
    """Where units of a zone's calendar begin, and how its clocks tell a moment. Moments are epoch seconds.

    Attributes:
        name: of the zone, as people know it.
        is_utc: whether it is UTC.
    """

    def __init__(self, zone: tzinfo) -> None:
        self.name = str(zone)
        self.is_utc = zone is UTC
        self._zone = zone
        self._minutes: dict[int, tuple[str, str]] = {}
        self._hours: dict[int, int] = {}

    def hour_of(self, time_ms: int) -> int:
        """The start of the hour that this moment (epoch milliseconds) lies in."""
        quarter = time_ms // (_QUARTER_S * 1000)
        start = self._hours.get(quarter)
        if start is None:
            local = self.local(quarter * _QUARTER_S)
            start = self._hours[quarter] = quarter * _QUARTER_S - local.minute * 60 - local.second
        return start

    def start_of(self, unit: Unit, time_s: int) -> int:
        """The start of the unit that this moment lies in."""
        if unit is Unit.HOUR:
            return self.hour_of(time_s * 1000)
        day = self.local(time_s).date()
        match unit:
            case Unit.WEEK:
                day -= timedelta(days=day.weekday())
            case Unit.MONTH:
                day = day.replace(day=1)
            case Unit.YEAR:
                day = day.replace(month=1, day=1)
        return self._midnight(day)

    def starts(self, unit: Unit, first_s: int, last_s: int) -> Iterator[int]:
        """The starts of all units from that of the first moment to that of the last one."""
        start = self.start_of(unit, first_s)
        while start <= last_s:
            yield start
            start = self.next_of(unit, start)

    def next_of(self, unit: Unit, start_s: int) -> int:
        """The start of the unit behind the one that begins then."""
        if unit is Unit.HOUR:
            return start_s + _HOUR_S
        day = self.local(start_s).date()
        match unit:
            case Unit.DAY:
                day += timedelta(days=1)
            case Unit.WEEK:
                day += timedelta(days=7)
            case Unit.MONTH:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
            case Unit.YEAR:
                day = day.replace(year=day.year + 1, month=1, day=1)
        return self._midnight(day)

    def label(self, unit: Unit, start_s: int) -> str:
        """A unit's name: `2026-11-22T09:00Z`, `2026-11-22`, `2026-11`, `2026`; a week has that of its Monday.

        Hours have their offset: where clocks are set back, one of them comes twice.
        """
        local = self.local(start_s)
        match unit:
            case Unit.HOUR:
                return local.isoformat(timespec="minutes").replace("+00:00", "Z")
            case Unit.MONTH:
                return f"{local:%Y-%m}"
            case Unit.YEAR:
                return f"{local.year}"
        return local.date().isoformat()

    def clock(self, time_ms: int) -> str:
        """A moment (epoch milliseconds) as `2026-11-22 09:39`, with seconds where there are any."""
        local = self.local(time_ms // 1000)
        return f"{local:%Y-%m-%d %H:%M:%S}".removesuffix(":00")

    def stamp(self, time_ms: int) -> str:
        """A moment (epoch milliseconds) as RFC 3339, in UTC with a `Z`, elsewhere with the zone's offset."""
        if self.is_utc:
            return rfc3339(time_ms)
        minute, rest = divmod(time_ms, _MINUTE_MS)
        known = self._minutes.get(minute) or self._learn(minute)
        if known is None:
            whole_s, ms = divmod(time_ms, 1000)
            return self.local(whole_s).replace(microsecond=ms * 1000).isoformat(timespec="milliseconds")
        return f"{known[0]}{rest // 1000:02d}.{rest % 1000:03d}{known[1]}"

    def stamps(self, times: Sequence[str]) -> list[str]:
        """The stamps of times of UTC, in the form in which we write them."""
        found = []
        known = self._minutes
        for minute_ms, text in zip(minutes_of(times), times, strict=True):
            around = known.get(minute_ms // _MINUTE_MS)
            found.append(f"{around[0]}{text[17:23]}{around[1]}" if around else self.stamp(epoch_ms(text)))
        return found

    def _learn(self, minute: int) -> tuple[str, str] | None:
        """What a stamp has before its seconds and behind its milliseconds; None if the zone has no whole minutes."""
        local = self.local(minute * 60)
        if local.second:
            return None
        if len(self._minutes) >= _MOST_MINUTES:
            self._minutes.clear()
        start, _, end = local.isoformat(timespec="milliseconds").partition("00.000")
        self._minutes[minute] = start, end
        return start, end

    def local(self, time_s: int) -> datetime:
        """The moment on the clocks of the zone."""
        return datetime.fromtimestamp(time_s, self._zone)

    def _midnight(self, day: date) -> int:
        return int(datetime.combine(day, time.min, tzinfo=self._zone).timestamp())
