"""A wall clock for one process that can be set, by libfaketime; the monotonic clock goes on as it is."""

from pathlib import Path

_LIBRARY = "libfaketime.so.1"


def faketime_library() -> Path | None:
    """The library, of Debian's package `faketime`; None if it is not installed."""
    return next(iter(sorted(Path("/usr/lib").glob(f"*/faketime/{_LIBRARY}"))), None)


class WallClock:
    """The wall clock of the daemons that are started with `env`. It starts right; the monotonic clock never moves."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = folder / "faketime"
        self.jump(0)
        self.env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",  # seconds; without, each look at a clock reads the file
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: int) -> None:
        """So far from the real time, from now on."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{seconds:+d}\n", encoding="ascii")
        beside.rename(self._file)
