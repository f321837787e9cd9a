"""The door for Python programs: the fleet, with views of its own log to report from, and a file that it follows."""

from pathlib import Path

from tallystick.actors.runtime import fleet
from tallystick.actors.runtime.specialist import Specialist
from tallystick.following import Following
from tallystick.reports.reporter import Reporter


class Fleet(fleet.Fleet):
    """A running fleet: messages in, replies out, from threads and from asyncio."""

    def follow(self, path: Path | str, by: str = "operator") -> Following:
        """Put a configuration file in force, and whatever it says later too, until the fleet is closed.

        A change of the file is one event, which changes only the keys that the file has changed. A file that is not
        valid changes nothing: the error is logged, and is ``error`` of what is returned until the file is mended.

        Raises:
            ConfigError: the file cannot be read, or says something that is not allowed.
            RefusedConfig: it cannot be put in force on this fleet.
        """
        following = Following(self, Path(path), by)
        self._at_close.callback(following.stop)
        following.start()
        return following

    def _made_reporter(self) -> Specialist:
        return Reporter(self._store)
