"""`audit`: questions to the files of a file sink, which are the audit trail."""

from collections.abc import Callable
from typing import Any

from listener.cli import audit_report

COMMANDS: dict[str, Callable[..., Any]] = {"report": audit_report.report}
