"""The part of Genesys Web Services that the listener talks to, as a real HTTP server for tests, demo and trial."""

from listener.simulator.media import MEDIA
from listener.simulator.operations import Published
from listener.simulator.options import SimulatorOptions, WorkingDay
from listener.simulator.scenario import Summary, play
from listener.simulator.server import Simulator
from listener.simulator.serving import serve

__all__ = ["MEDIA", "Published", "Simulator", "SimulatorOptions", "Summary", "WorkingDay", "play", "serve"]
