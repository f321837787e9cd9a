"""Whatever number or reason of whatever event somebody changes in a log, making its chain anew: it is named."""

import copy
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.audit.deciding import Deciding
from tallystick.events.log.audit import Verification
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import Record
from tests.support.decision_logs import kept, records_of
from tests.support.whatif import sealed_again

NAMES = [name for name in sorted(kept().heads) if name != "older"]
LOGS = {name: records_of(name) for name in NAMES}
HEAD = {"type", "position", "at", "id", "by"}
"""What the messages came with; their time is a fact that nothing else tells."""
REASONS = {"code", "reason", "cause", "because", "strategy"}
Path = tuple[str | int, ...]


def numbers_and_reasons(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where they are in an event."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if path or name not in HEAD:
                yield from numbers_and_reasons(inner, (*path, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from numbers_and_reasons(inner, (*path, place))
    elif type(value) in (int, float) or (type(value) is str and path[-1] in REASONS):
        yield path


def fields_of(record: Record) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(decode_event(record.data, record.name)))
    return fields


def changed(fields: dict[str, Any], path: Path, by: int) -> dict[str, Any]:
    fields = copy.deepcopy(fields)
    inner: Any = fields
    for step in path[:-1]:
        inner = inner[step]
    value = inner[path[-1]]
    inner[path[-1]] = value + by if type(value) in (int, float) else f"{value}-{by}"
    return fields


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False)
@given(st.data())
def test_one_changed_number_or_reason_is_named_by_its_position(data: st.DataObject) -> None:
    records = LOGS[data.draw(st.sampled_from(NAMES))]
    record = data.draw(st.sampled_from(records))
    fields = fields_of(record)
    places = list(numbers_and_reasons(fields))
    if not places:
        return
    forged = changed(fields, data.draw(st.sampled_from(places)), data.draw(st.integers(1, 10_000)))

    def forge(event: Any) -> Any:
        try:
            return msgspec.convert(forged, type(event))
        except (msgspec.ValidationError, ValueError):
            return event  # no event can say that

    log = sealed_again(records, record.position, forge)
    report = Verification((), (), Deciding()).run(log)
    expected = [] if log == records else [record.position]
    assert [problem.position for problem in report.problems] == expected
