"""``GET /v1/views/{name}``: a view as the command of its name prints it with ``--json``, now or at a moment."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tallystick.events.messages import NAME_MAX
from tallystick.http.answers import JSON, NO_STORE, problem, refused
from tallystick.http.parameters import BadParameter, check_names
from tallystick.http.views.reader import NAMES, PARAMETERS
from tallystick.http.views.readers import Busy, Failed, NotStarted, Readers

MANY: Final = frozenset({"folded", "type"})
"""Parameters that may be given several times."""
_TEXT_MAX: Final = 200
_OK: Final = b'{"ok":'


async def view(request: Request, readers: Readers) -> Response:
    """One view. The parameters of the URL are the options of the command."""
    name = request.path_params["view"]
    if name not in NAMES:
        known = ", ".join(sorted(NAMES))
        return refused("not_found", f"there is no view {name[:_TEXT_MAX]!r}; there are {known}")
    try:
        check_names(request.query_params, PARAMETERS[name], MANY)
    except BadParameter as wrong:
        return refused("invalid_parameter", str(wrong))
    asked: dict[str, Any] = {}
    for key, value in request.query_params.multi_items():
        if len(value) > NAME_MAX:
            return refused(
                "invalid_parameter", f"{key[:_TEXT_MAX]}: found {len(value)} characters, allowed are {NAME_MAX}"
            )
        if key in MANY:
            asked.setdefault(key, []).append(value)
        else:
            asked[key] = value
    return await shown(readers, name, asked.pop("at", None), asked)


async def shown(readers: Readers, name: str, at: str | None, asked: Mapping[str, Any]) -> Response:
    """What a view shows, now or at a moment; or why it shows nothing."""
    try:
        answer = await readers.ask(name, at, asked)
    except Busy as busy:
        return refused("busy", str(busy))
    except Failed as failed:
        return refused("report_failed", str(failed))
    except NotStarted as not_started:
        return refused("unavailable", str(not_started))
    if answer.startswith(_OK):
        return Response(answer[len(_OK) : -1], 200, NO_STORE, JSON)
    return problem(msgspec.json.decode(answer)["error"])
