"""Where everything of one audit file is: beside it, under its own name with an ending."""

from pathlib import Path
from typing import NamedTuple


class Paths(NamedTuple):
    """The names around an audit file."""

    file: Path

    @property
    def checkpoints(self) -> Path:
        """The signed checkpoints."""
        return self.file.with_name(self.file.name + ".checkpoints")

    @property
    def key(self) -> Path:
        """The private key, unless another one is configured."""
        return self.file.with_name(self.file.name + ".key")

    @property
    def public_key(self) -> Path:
        """Its public half."""
        return self.file.with_name(self.file.name + ".pub")
