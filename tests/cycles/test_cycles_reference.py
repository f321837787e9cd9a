"""The page of the Cycles protocol says what is served, and every refusal of ours has a code of the protocol."""

import asyncio
import re

import pytest

from tallystick.cycles.errors import INTERNAL, INVALID, STATUS_OF, fault_of
from tallystick.cycles.service import Cycles
from tallystick.cycles.units import FIELD
from tallystick.http.access import Access
from tallystick.http.measures import Measures
from tallystick.http.statuses import OWN_STATUS, STATUS
from tests.support.access import World
from tests.support.pages import PROJECT

PAGE = (PROJECT / "docs" / "reference" / "cycles.md").read_text(encoding="utf-8")
BY_HTTP = {405, 413, 415, 421}
AWAY = {500, 503, 504}


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table."""
    body = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in cells] for cells in lines[2:]]


def test_every_operation_that_is_served_is_on_the_page_and_no_other_is() -> None:
    world = World()

    async def served() -> set[str]:
        routes = Cycles(world.fleet, Access(world.fleet.access, Measures()), None, asyncio.Event()).routes()
        return {f"{min((route.methods or set()) - {'HEAD'})} {route.path.removeprefix('/cycles')}" for route in routes}

    found = asyncio.run(served())
    world.fleet.close()
    named = {re.findall(r"`([^`]+)`", cells[0])[0] for cells in rows("Operations")}
    health = {f"GET /actuator/health{more}" for more in ("/liveness", "/readiness")}
    refused = {"GET /v1/evidence/{id}", "GET /v1/.well-known/cycles-jwks.json", "DELETE /{rest:path}"}
    assert found == named | health | refused


def test_every_code_is_on_the_page_with_its_status() -> None:
    said = {cells[0].strip("`"): int(cells[1]) for cells in rows("Errors")}
    assert said == dict(STATUS_OF)


def test_every_unit_that_is_counted_is_on_the_page() -> None:
    counted = [
        unit for cells in rows("Units") if "refused" not in cells[1] for unit in re.findall(r"`(\w+)`", cells[0])
    ]
    assert counted == list(FIELD)


@pytest.mark.parametrize("code", sorted({**STATUS, **OWN_STATUS}))
def test_every_refusal_of_ours_has_a_code_of_the_protocol_and_its_status(code: str) -> None:
    fault = fault_of({"code": code, "detail": "why", "available": {"tokens": 1}})
    assert fault.details == {"code": code, "available": {"tokens": 1}}
    allowed = {STATUS_OF[fault.code]}
    if fault.code == INVALID:
        allowed |= BY_HTTP
    if fault.code == INTERNAL:
        allowed |= AWAY | {501}
    assert fault.status in allowed
    assert (fault.code == INTERNAL) == ({**STATUS, **OWN_STATUS}[code] >= 500)
