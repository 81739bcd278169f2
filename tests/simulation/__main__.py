"""`python -m tests.simulation` from the root of the repository."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest's `pythonpath` does

from simulation.cli import main

sys.exit(main())
