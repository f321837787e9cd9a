"""tallystick: the budget office for fleets of LLM agents."""

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tallystick.fleet import Fleet
    from tallystick.interface.refusals import Refused, Stopped, Throttled

__all__ = ["Fleet", "Refused", "Stopped", "Throttled", "__version__"]
__version__ = metadata.version("tallystick")
_WHERE: Final = {
    "Fleet": "tallystick.fleet",
    **dict.fromkeys(("Refused", "Stopped", "Throttled"), "tallystick.interface.refusals"),
}


def __getattr__(name: str) -> Any:
    """What programs use is loaded when it is first used: the rooms below import this package."""
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
