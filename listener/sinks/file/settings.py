"""The settings of a `file` sink."""

import errno
import os
import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from listener.audit.trail import TrailOptions
from listener.config.proxy import ProxySettings
from listener.config.schema import InputFile, OutputFile, Url
from listener.model.forms import CLOUD_EVENT, FormName
from listener.runtime.owned import refusal_to_write
from listener.sinks.registry import SinkContext

_OWNER_READS_AND_WRITES = 0o600


def _octal(value: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", value) or int(value, 8) & _OWNER_READS_AND_WRITES != _OWNER_READS_AND_WRITES:
        raise ValueError('should be an octal number in quotes that lets the owner read and write, such as "0640"')
    return value


class FileSettings(ProxySettings):
    """Keys of a sink of type `file`. `mode` is for files that the sink creates; an existing one keeps its own.

    A proxy is for `checkpoint_url`. By default `chain` is on if whole CloudEvents are written.
    """

    path: OutputFile
    mode: Annotated[str, AfterValidator(_octal)] = "0640"
    fsync: bool = True
    chain: bool | None = None
    checkpoint_lines: int = Field(default=1000, ge=1)
    checkpoint_s: float = Field(default=300.0, gt=0)
    checkpoint_url: Url | None = None
    key_file: InputFile | None = None
    rotate_bytes: int | None = Field(default=None, ge=4096)
    rotate_hours: float | None = Field(default=None, gt=0)
    compress: bool = False
    keep_files: int | None = Field(default=None, ge=1)
    keep_days: float | None = Field(default=None, gt=0)


def options_of(context: SinkContext, settings: FileSettings) -> TrailOptions:
    """What the trail is to be."""
    whole = context.form is CLOUD_EVENT
    return TrailOptions(
        path=context.base / settings.path,
        sink=context.name,
        form=context.form,
        mode=int(settings.mode, 8),
        fsync=settings.fsync,
        recall=whole,
        chain=whole and settings.chain is not False,
        must_sign=settings.chain is True,
        key_file=context.base / settings.key_file if settings.key_file is not None else None,
        checkpoint_lines=settings.checkpoint_lines,
        checkpoint_s=settings.checkpoint_s,
        rotate_bytes=settings.rotate_bytes,
        rotate_s=settings.rotate_hours * 3600 if settings.rotate_hours is not None else None,
        compress=settings.compress,
        keep_files=settings.keep_files,
        keep_days=settings.keep_days,
    )


def refusals(context: SinkContext, settings: FileSettings) -> Iterator[tuple[str, str]]:
    """What the host would refuse when the file is opened: the key, and why."""
    path = context.base / settings.path
    try:
        if not path.parent.is_dir():
            yield "path", f"there is no folder {path.parent}"
        elif path.is_dir():
            yield "path", f"cannot write {path}: {os.strerror(errno.EISDIR)}"
        elif path.exists() and not path.is_file():
            yield "path", f"cannot write {path}: it is not a regular file"
        elif (why := refusal_to_write(path if path.exists() else path.parent)) is not None:
            yield "path", f"cannot write {path}: {why}"
    except OSError as exc:  # a folder above may not be entered
        yield "path", f"cannot write {path}: {exc.strerror}"


def problems(settings: FileSettings, form: FormName) -> Iterator[tuple[str, str]]:
    """Keys that do not go with each other, or with the format: each, and why."""
    if settings.chain and form != "cloudevents":
        yield "chain", f'needs format = "cloudevents" instead of "{form}"'
    if settings.proxy is not None and settings.checkpoint_url is None:
        yield "proxy", "is for checkpoint_url, which is not given"
    if form != "cloudevents" or settings.chain is False:
        for key in ("checkpoint_url", "key_file"):
            if getattr(settings, key) is not None:
                yield key, 'needs the chain: format = "cloudevents", and no chain = false'
