"""Usage that a program gives as a `Budget` is recorded as if every value of the message had been converted."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tallystick.config.amounts import Budget, Usage
from tallystick.events.log import codec
from tallystick.events.messages import Command, ReportUsage, Settle
from tallystick.events.messages.replies import Refusal

NUMBERS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.decimals()
    | st.sampled_from([1.0, 2.0, Decimal("1.50"), Decimal(3), 2**53 + 1])
    | st.text(max_size=3)
)
AMOUNTS = st.builds(Budget, tokens=NUMBERS, time_seconds=NUMBERS, cost_usd=NUMBERS)
SOME: dict[str, st.SearchStrategy[Any]] = {
    "id": st.none() | st.just("r-1") | st.just("~r-1"),
    "usage": AMOUNTS | st.builds(Usage, tokens=NUMBERS, cost_usd=NUMBERS) | st.none() | st.just({"tokens": 1}),
    "model": st.none() | st.just("m") | st.just(""),
    "input_tokens": NUMBERS,
    "requests": NUMBERS,
    "provider_usage": st.none() | st.just({"input_tokens": 4, "a": float("nan")}) | NUMBERS,
}
REPORTS = st.builds(ReportUsage, agent=st.just("a"), retry_after_seconds=NUMBERS, **SOME)
SETTLEMENTS = st.builds(Settle, hold=st.just("h"), **SOME)


def read(message: Command) -> tuple[str, bytes] | Refusal:
    """What is read: the command by its kind and what it shows, and its bytes."""
    read = codec.read_message(message, lambda: "new")
    if isinstance(read, Refusal):
        return read
    return f"{type(read[0]).__name__} {msgspec.to_builtins(read[0], builtin_types=(Decimal,))}", read[1]


@given(REPORTS | SETTLEMENTS)
@example(ReportUsage(id="r", agent="a", usage=Budget(tokens=1), model=UUID(int=1)))  # type: ignore[arg-type]
def test_it_is_read_as_if_every_value_were_converted(message: Command) -> None:
    before = repr(message)
    found = read(message)
    with pytest.MonkeyPatch.context() as without:
        without.setattr(codec, "_is_a_budget", lambda *_: False)
        assert repr(found) == repr(read(message))
    assert repr(message) == before


def test_a_plain_report_needs_no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msgspec, "convert", None)
    usage = Budget(tokens=450, time_seconds=Decimal("2.3"), cost_usd=Decimal("0.011"))
    for message in (ReportUsage(id="r", agent="a", usage=usage), Settle(id="s", hold="h", usage=usage)):
        assert not isinstance(read(message), Refusal)
