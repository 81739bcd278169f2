"""Names of metrics in expressions of Prometheus, against those that the process has."""

import re

from listener.runtime.metrics import PREFIX, TABLE, Histogram

_SERIES = {
    PREFIX + row.name + suffix
    for row in TABLE
    for suffix in (("_bucket", "_count", "_sum", "") if row.kind is Histogram else ("",))
}


def unknown_metrics(text: str) -> set[str]:
    """Names with our prefix that no series has; a histogram's base name counts, as texts use it."""
    return set(re.findall(rf"\b{PREFIX}\w+", text)) - _SERIES
