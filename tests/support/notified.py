"""The receiving end of sd_notify(3), as systemd holds it."""

import socket
from pathlib import Path
from typing import Self


class Notified:
    """A socket that collects what a service tells; `messages` are their lines, as fields."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._messages: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(str(path) if not str(path).startswith("@") else "\0" + str(path)[1:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._socket.close()

    @property
    def messages(self) -> list[dict[str, str]]:
        """Everything so far."""
        while True:
            try:
                text = self._socket.recv(65_536).decode()
            except BlockingIOError:
                return self._messages
            self._messages.append(dict(line.split("=", 1) for line in text.split("\n")))

    def told(self, field: str) -> list[str]:
        """The values of one field, in order."""
        return [message[field] for message in self.messages if field in message]
