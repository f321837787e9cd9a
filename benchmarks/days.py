"""Days of real clients, forecast at noon and at six in the evening: large pools and single clients."""

import csv
import gzip
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from benchmarks.data import found
from benchmarks.result import Result
from tallystick.actors.policies.forecasting.days import day_total
from tallystick.events.state.history import is_hit

CLIENTS = "servegen-client-hourly.csv.gz"
HOURS, DAYS = 24, 14
PAST_MIN = 4
"""From the fifth day on there are days to look back on."""
ASKED_AT = (12, 18)

Days = list[list[float]]


class Seen(NamedTuple):
    """Whether a day was forecast within 10 %, whether the average rate would have, and whether the interval held it."""

    hit: bool
    baseline: bool
    inside: bool


def clients(file: Path) -> dict[tuple[str, str], Days]:
    """Tokens by day and hour of the clients that were there for all 14 days, by model and client."""
    hours: dict[tuple[str, str], list[float]] = {}
    last: dict[tuple[str, str], int] = {}
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            key, hour = (row["model"], row["agent"]), int(float(row["timestamp_s"])) // 3600
            if hour < HOURS * DAYS:
                hours.setdefault(key, [0.0] * (HOURS * DAYS))[hour] += int(row["input_tokens"] or 0) + int(
                    row["output_tokens"] or 0
                )
                last[key] = max(last.get(key, 0), hour)
    whole = {key: series for key, series in hours.items() if last[key] == HOURS * DAYS - 1}
    return {key: [series[d * HOURS : (d + 1) * HOURS] for d in range(DAYS)] for key, series in whole.items()}


def _together(all_of_them: Sequence[Days]) -> Days:
    return [[sum(days[d][h] for days in all_of_them) for h in range(HOURS)] for d in range(DAYS)]


def _asked(days: Days, hour: int) -> Iterator[Seen]:
    for d in range(PAST_MIN, DAYS):
        truth, so_far = sum(days[d]), days[d][:hour]
        seen = day_total(days[:d], so_far, hour)
        if truth and seen is not None:
            average = sum(so_far) * HOURS / hour
            yield Seen(is_hit(seen.estimate, truth), is_hit(average, truth), seen.low <= truth <= seen.high)


def results(say: Callable[[str], None]) -> Iterator[Result]:
    file = found(CLIENTS)
    if file is None:
        say(f"days are left out: there is no {CLIENTS} in shared/data beside the checkout")
        return
    single = clients(file)
    models = sorted({model for model, _ in single})
    by_model = [_together([days for (of, _), days in single.items() if of == model]) for model in models]
    groups = {"pools": [*by_model, _together(by_model)], "clients": list(single.values())}
    for group, series in groups.items():
        for hour in ASKED_AT:
            seen = [s for days in series for s in _asked(days, hour)]
            name = f"forecast.day.{group}.at_{hour}"
            hits, average, inside = (fmean(column) for column in zip(*seen, strict=True))
            yield Result(name, 100 * hits, "% hits", f"all; average rate {100 * average:.1f} %", hits)
            yield Result(f"{name}.coverage", 100 * inside, "% held", "all", inside, ("in", 0.77, 0.88))
