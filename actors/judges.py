"""Who is asked about commands that need judgement, or more than the state, before they can be answered."""

from collections.abc import Mapping
from typing import Final

from tallystick.actors.runtime.messages import ALLOCATOR, REALLOCATOR, REPORTER, TRACKER
from tallystick.events import messages as c

JUDGES: Final[Mapping[type[c.Command], str]] = {
    c.Rebalance: REALLOCATOR,
    c.Forecast: TRACKER,
    c.GenerateReport: REPORTER,
    c.SubmitTask: ALLOCATOR,
    c.GetTask: ALLOCATOR,
    c.GetQueue: ALLOCATOR,
}

FACTS: Final = frozenset({c.ReportUsage, c.Settle})
"""What a program says was used: it needs no judgement, whatever its id."""
