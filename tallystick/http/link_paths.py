"""Where the links of alerts are opened, and how a log may show that."""

from typing import Final

from starlette.types import Scope

from tallystick.approvals.links import PATH

LINKS: Final = PATH


def shown_path(scope: Scope) -> str:
    """The path of a request as a log may have it: who has a link may use it, also where a mistake stands before it."""
    path: str = scope["path"]
    before, links, _ = path.partition(LINKS)
    return f"{before}{links}…" if links else path
