"""Metrics of tokens: of each series what is new counts, when it was used, and of a program one metric."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from tallystick.events.catalog import UsageCorrected, UsageReported
from tallystick.fleet import Fleet
from tests.support.otlp import NS, Taking, attributes, post

CONFIG = {"telemetry": {"metrics_of": ["meters"]}}
COUNTERS = "gen_ai.client.inference.usage."
MINUTE, HOUR = 60 * 10**9, 3_600 * 10**9
MODEL = {"gen_ai.response.model": "claude-haiku-4-5"}


def point(value: int, at: int = NS, start: int = NS - 8 * HOUR, **more: Any) -> dict[str, Any]:
    named = {**MODEL, **{key.replace("__", "."): one for key, one in more.items()}}
    times = {"startTimeUnixNano": str(start), "timeUnixNano": str(at)}
    return {**times, "asInt": str(value), "attributes": attributes(named)}


def exported(metrics: dict[str, Sequence[dict[str, Any]]], *, total: bool = True, kind: str = "sum") -> dict[str, Any]:
    """An export of metrics by name, each with its points."""
    temporality = 2 if total else 1
    listed = [
        {"name": name, kind: {"aggregationTemporality": temporality, "isMonotonic": True, "dataPoints": list(points)}}
        for name, points in metrics.items()
    ]
    of = {"attributes": attributes({"service.name": "meters"})}
    return {"resourceMetrics": [{"resource": of, "scopeMetrics": [{"scope": {"name": "x"}, "metrics": listed}]}]}


def sending(taking: Taking, *exports: Any) -> list[Any]:
    """What each export is answered."""
    answers: list[Any] = []

    async def test(app: ASGIApp) -> None:
        for export in exports:
            answer = await post(app, "metrics", export)
            assert answer.status == 200, answer.body
            answers.append(answer.json)

    taking.run(test)
    return answers


def test_input_less_its_cached_parts_and_the_parts_have_their_own_prices() -> None:
    taking = Taking(CONFIG)
    figures = {
        "input_tokens": 1_000,
        "output_tokens": 50,
        "cache_read.input_tokens": 700,
        "cache_write.input_tokens": 100,
        "reasoning.output_tokens": 20,
    }
    sending(taking, exported({COUNTERS + name: [point(value)] for name, value in figures.items()}))
    found = taking.reported()
    taking.fleet.close()
    assert sorted((one.tokens, one.cost_nanos) for one in found) == [
        (50, 50 * 5_000),
        (100, 100 * 1_250),
        (200, 200 * 1_000),
        (700, 700 * 100),
    ]


def test_the_metric_of_a_tool_is_taken_before_that_of_the_conventions() -> None:
    taking = Taking(CONFIG)
    own = [point(value, type=kind) for kind, value in (("input", 5), ("output", 7), ("cacheRead", 11))]
    other = [point(23, **{"gen_ai.token.type": "input"})]
    sending(taking, exported({"gen_ai.client.token.usage": other, "claude_code.token.usage": own}))
    assert taking.used() == {"meters": 23}
    assert sorted((one.tokens, one.cached_tokens) for one in taking.reported()) == [(5, None), (7, None), (11, 11)]
    taking.fleet.close()


def test_totals_of_an_hour_are_one_record_and_those_of_the_next_hour_another() -> None:
    taking = Taking(CONFIG)
    name = COUNTERS + "input_tokens"
    # From 07:30 on, every ten minutes: the hours are 07:30 to 07:50, and 08:00.
    for n in range(4):
        sending(taking, exported({name: [point(100 * (n + 1), at=NS + (n - 3) * 10 * MINUTE)]}))
    first, second = taking.reported()
    assert (first.tokens, second.tokens) == (100, 100)
    corrected = [event for event in taking.events() if isinstance(event, UsageCorrected)]
    assert [event.counts.tokens for event in corrected] == [200, 300]
    assert {event.record.position for event in corrected} == {first.position}
    assert (str(second.occurred_at or second.at)[:16], taking.used()) == ("2026-03-02 08:00", {"meters": 400})
    taking.fleet.close()


@given(seed=st.integers(0, 10**6), restarts=st.booleans())
@settings(max_examples=6, deadline=None)
def test_whatever_comes_again_late_or_after_a_restart_the_largest_total_counts(
    tmp_path_factory: pytest.TempPathFactory, seed: int, restarts: bool
) -> None:
    random_of = random.Random(seed)
    taking = Taking(CONFIG, f"sqlite:///{tmp_path_factory.mktemp('log') / 'fleet.db'}")
    name, total, best = COUNTERS + "output_tokens", 0, {"a": 0, "b": 0}
    made: list[tuple[str, int, Any]] = []
    for n in range(12):
        session = random_of.choice("ab")
        total += random_of.randrange(1, 50)
        at = NS - 6 * HOUR + n * 30 * MINUTE
        made.append((session, total, exported({name: [point(total, at=at, start=NS - 7 * HOUR, session__id=session)]})))
    random_of.shuffle(made)
    for session, value, export in [*made, *made[:4]]:
        if restarts and random_of.random() < 0.3:
            taking.restart()
        sending(taking, export)
        best[session] = max(best[session], value)
        assert {**dict.fromkeys(best, 0), **taking.used()} == best
    taking.fleet.close()


def test_a_report_that_the_fleet_does_not_take_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taking = Taking(CONFIG, f"sqlite:///{tmp_path / 'fleet.db'}")
    name = COUNTERS + "input_tokens"

    async def test(app: ASGIApp) -> None:
        assert (await post(app, "metrics", exported({name: [point(100)]}))).json == {}
        monkeypatch.setattr("tallystick.actors.runtime.intake.INBOX_MAX", 0)
        assert (await post(app, "metrics", exported({name: [point(300)]}))).status == 429
        monkeypatch.undo()
        assert (await post(app, "metrics", exported({name: [point(250)]}))).json == {}
        assert (await post(app, "metrics", exported({name: [point(300)]}))).json == {}

    taking.run(test)
    assert taking.used() == {"meters": 300}
    taking.fleet.close()


def test_a_server_that_is_the_writer_again_reads_what_another_one_has_reported(tmp_path: Path) -> None:
    taking = Taking(CONFIG, f"sqlite:///{tmp_path / 'fleet.db'}")
    name = COUNTERS + "input_tokens"

    async def first_server(app: ASGIApp) -> None:
        assert (await post(app, "metrics", exported({name: [point(100, at=NS - 2 * HOUR)]}))).json == {}
        # Meanwhile another server has the fleet, and the series goes on there.
        await asyncio.to_thread(between)
        assert (await post(app, "metrics", exported({name: [point(350)]}))).json == {}

    def between() -> None:
        taking.restart()
        sending(taking, exported({name: [point(200, at=NS - HOUR)]}), exported({name: [point(300)]}))
        taking.restart()
        shared.current = taking.fleet

    shared = Shared(taking.fleet)
    taking.run(first_server, shared)
    assert taking.used() == {"meters": 350}
    taking.fleet.close()


class Shared:
    """A fleet that is opened, closed and opened again behind a server, as where several share it."""

    def __init__(self, fleet: Fleet) -> None:
        self.current = fleet

    def __getattr__(self, name: str) -> Any:
        return getattr(self.current, name)


def test_an_operators_correction_does_not_make_a_series_count_again(tmp_path: Path) -> None:
    taking = Taking(CONFIG, f"sqlite:///{tmp_path / 'fleet.db'}")
    name = COUNTERS + "input_tokens"
    sending(taking, exported({name: [point(100)]}))
    (record,) = taking.reported()
    asked = {"type": "CorrectUsage", "position": record.position, "usage": {"tokens": 40}, "reason": "half was a test"}
    assert "ok" in taking.fleet.ask(asked)
    taking.restart()
    sending(taking, exported({name: [point(100)]}))
    assert taking.used() == {"meters": 40}
    sending(taking, exported({name: [point(130)]}))
    assert taking.used() == {"meters": 130}
    taking.fleet.close()


def test_metrics_of_other_programs_are_left_out_and_the_answer_says_so() -> None:
    taking = Taking()
    (answer,) = sending(taking, exported({COUNTERS + "input_tokens": [point(100)]}))
    assert answer["partialSuccess"]["rejectedDataPoints"] == "0"
    assert "telemetry.metrics_of" in answer["partialSuccess"]["errorMessage"]
    assert sending(taking, exported({"http.server.requests": [point(100)]})) == [{}]
    assert taking.reported() == []
    taking.fleet.close()


def test_figures_that_do_not_only_grow_are_no_use() -> None:
    taking = Taking(CONFIG)
    export = exported({COUNTERS + "input_tokens": [point(100)]})
    (metric,) = export["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    metric["sum"]["isMonotonic"] = False
    gauge = {"name": COUNTERS + "input_tokens", "gauge": {"dataPoints": [point(100)]}}
    assert sending(taking, export) == [{}]
    export["resourceMetrics"][0]["scopeMetrics"][0]["metrics"] = [gauge]
    assert sending(taking, export) == [{}]
    assert [event for event in taking.events() if isinstance(event, UsageReported)] == []
    taking.fleet.close()


def test_a_kind_of_tokens_that_is_not_known_is_rejected_by_name() -> None:
    taking = Taking(CONFIG)
    (answer,) = sending(taking, exported({"claude_code.token.usage": [point(5, type="dreams")]}))
    assert "type: found 'dreams', allowed is one of input, output" in answer["partialSuccess"]["errorMessage"]
    taking.fleet.close()
