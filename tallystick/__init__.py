"""tallystick: a budget office for fleets of LLM agents. This package is the face; the rooms are installed inside it."""

from importlib.metadata import version

__version__ = version("tallystick")
