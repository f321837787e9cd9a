"""What is brought together is the same in whichever order it is read, and however much of it is in memory."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.importing.notes import Notes
from tallystick.importing.staging import REPEATED, Staging
from tallystick.importing.used import Used

BEGAN = datetime(2026, 10, 1, tzinfo=UTC)


class Said(NamedTuple):
    """A line of one of a few calls."""

    call: int
    tokens: int
    seconds: int
    has_request: bool
    copied: bool


LINES = st.lists(
    st.builds(
        Said, st.integers(0, 3), st.integers(1, 5), st.integers(0, 5), has_request=st.booleans(), copied=st.booleans()
    ),
    max_size=12,
)


def used(said: Said) -> Used:
    key = f"msg_{said.call}"
    own = f"req_{said.call}{'_copy' if said.copied else ''}"
    return Used(
        key=key,
        source=own if said.has_request else key,
        agent="ann",
        at=BEGAN + timedelta(seconds=said.seconds),
        tokens=said.tokens,
        counts={"input_tokens": said.tokens},
        cost=Decimal(said.tokens) / 7,
        copied=said.copied,
    )


def together(lines: list[Said], in_memory: int) -> list[tuple[str, int, datetime, Decimal | None]]:
    notes = Notes()
    with pytest.MonkeyPatch.context() as patch, Staging(notes) as staging:
        patch.setattr("tallystick.importing.staging._FLUSH", in_memory)
        for said in lines:
            staging.take(used(said))
        found = [(one.source, one.tokens, one.at, one.cost) for one in staging.oldest_first()]
    assert notes.dropped[REPEATED] == len(lines) - len(found)
    return found


@given(lines=LINES, in_memory=st.integers(1, 6), data=st.data())
def test_each_call_is_there_once_with_most_tokens_whatever_the_order(
    lines: list[Said], in_memory: int, data: st.DataObject
) -> None:
    found = together(lines, 100)
    assert found == together(data.draw(st.permutations(lines)), in_memory)
    assert [at for _, _, at, _ in found] == sorted(at for _, _, at, _ in found)
    for call in {said.call for said in lines}:
        of_call = [said for said in lines if said.call == call]
        own = [said for said in of_call if not said.copied] or of_call
        most = max(said.tokens for said in of_call)
        request = f"req_{call}{'_copy' if own[0].copied else ''}"
        source = request if any(said.has_request for said in own) else f"msg_{call}"
        at = BEGAN + timedelta(seconds=min(said.seconds for said in of_call))
        assert (source, most, at, Decimal(most) / 7) in found
