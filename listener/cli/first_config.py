"""The text of a first configuration, with comments that say what else there is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

AUDIT, JOURNAL = "dispositions.jsonl", "journal.db"


class Answers(NamedTuple):
    """What a first configuration says. Paths as they are to be written.

    Attributes:
        url: of the Web Services.
        ca_file: authorities to trust instead of the system's.
        accounts_file: of a team; or:
        username: the only agent, with:
        password_file: where the password is.
        keys: the userData keys that hold a disposition.
        folder: of journal and audit file.
        webhook: where events are delivered to; None for nowhere.
        listen: address of console and metrics; None for none.
    """

    url: str
    ca_file: Path | None
    accounts_file: Path | None
    username: str | None
    password_file: Path | None
    keys: tuple[str, ...]
    folder: Path
    webhook: str | None
    listen: str | None


def text_of(answers: Answers) -> str:
    """The configuration as TOML."""
    return "\n".join(_lines(answers)) + "\n"


def _lines(of: Answers) -> Iterator[str]:
    yield "# Written by `disposition-listener init`. Relative paths start from the folder of this file."
    yield "# `disposition-listener check` lists what is wrong with it. Every setting: config/full.toml of the project."
    yield ""
    if of.accounts_file is not None:
        yield "# The agents who are heard: lines of username,password, or a folder with a file for each password."
        yield _set("accounts_file", of.accounts_file, "a change takes effect by itself")
        yield ""
    yield "[server]"
    yield _set("url", of.url)
    authorities = "certificates to trust instead of the system's"
    yield _set("# ca_file" if of.ca_file is None else "ca_file", of.ca_file or "ca.pem", authorities)
    yield _padded("# start_contact_center_session = true", "where only a session that starts one hears the chats")
    yield ""
    if of.username is not None:
        yield _padded("[[accounts]]", "one table for each agent who is heard; or accounts_file")
        yield _set("username", of.username)
        yield _set("password_file", of.password_file, "the password alone, read at each login")
        yield ""
    yield "[disposition]"
    keys = ", ".join(map(_quoted, of.keys))
    yield _padded(f"keys = [{keys}]", 'the userData keys that hold a disposition; ["auto"]: what the server names')
    yield _padded("user_data = []", "further userData keys to pass on, perhaps customers' personal data")
    yield ""
    yield "[journal]"
    yield _set("path", of.folder / JOURNAL, "keeps every event until each sink has it")
    yield ""
    yield "[sinks.audit]"
    yield _set("type", "file", "one line of JSON per event: disposition-listener tail")
    yield _set("path", of.folder / AUDIT)
    yield ""
    mark = "# " if of.webhook is None else ""
    yield _padded(f"{mark}[sinks.crm]", "one more sink; disposition-listener sinks kinds")
    yield _set(f"{mark}type", "webhook")
    yield _set(f"{mark}url", of.webhook or "https://crm.example.com/hooks/dispositions")
    yield _set(f"{mark}events", "changes", "without notifications that repeat the last value")
    if of.listen is not None:
        yield ""
        yield "[http]"
        yield _set("listen", of.listen, "the console, probes and metrics")


def _set(name: str, value: object, comment: str = "") -> str:
    return _padded(f"{name} = {_quoted(value)}", comment)


def _padded(setting: str, comment: str) -> str:
    return f"{setting:<40}  # {comment}" if comment else setting


def _quoted(value: object) -> str:
    """A TOML string in which nothing stands for a variable."""
    text = json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    return re.sub(r"\$(?=\{[A-Z_])", "$$", text)
