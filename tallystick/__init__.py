"""tallystick: budgets for fleets of LLM agents. A program uses a `Fleet`, or a `Client` of one that a server has."""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tallystick.client.client import Client
    from tallystick.fleet import Fleet
    from tallystick.interface.refusals import Refused, Stopped, Throttled

__all__ = ["Client", "Fleet", "Refused", "Stopped", "Throttled", "__version__"]
__version__: str
_WHERE: Final = {
    "Client": "tallystick.client.client",
    "Fleet": "tallystick.fleet",
    **dict.fromkeys(("Refused", "Stopped", "Throttled"), "tallystick.interface.refusals"),
}


def __getattr__(name: str) -> Any:
    """What programs use is loaded when it is first used: the rooms below import this package."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - loads a parser of mail, for what few ask

        return version("tallystick")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
