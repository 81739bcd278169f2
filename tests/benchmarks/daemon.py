"""`python -m listener` with the names of its threads in `/proc`: Python before 3.14 keeps them to itself.

With NO_UVLOOP in the environment it runs as if uvloop were not installed.
"""

import os
import runpy
import sys
import threading
from pathlib import Path


def name_thread(*_: object) -> None:
    """Called at the first thing that a new thread does, and never again."""
    sys.setprofile(None)
    comm = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
    comm.write_text(threading.current_thread().name[:15], encoding="utf-8")


if "NO_UVLOOP" in os.environ:
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # what the import system takes for absent
Path("/proc/self/comm").write_text("event-loop", encoding="utf-8")
threading.setprofile(name_thread)
runpy.run_module("listener", run_name="__main__")
