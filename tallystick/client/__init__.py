"""The typed interface over HTTP: what `tallystick.Fleet` is in a process, `Client` is for a server."""

from tallystick.actors.errors import Unanswered
from tallystick.client.client import Client
from tallystick.client.errors import WrongServer

__all__ = ["Client", "Unanswered", "WrongServer"]
