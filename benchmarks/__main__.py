"""``python -m benchmarks``: run all, print a table, write ``benchmarks/results.json``."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import (
    admission,
    campaign,
    campaign_resamples,
    client,
    dashboard,
    ends,
    exports,
    fleet,
    forecasts,
    history,
    http_service,
    kinds,
    limits,
    pauses,
    postgres,
    sizes,
    sources,
    tasks,
    telemetry,
    tenants,
    throughput,
    views,
)
from benchmarks.result import Result, alternating, quiet

ROUNDS = 5
RESULTS = Path(__file__).with_name("results.json")


def growth() -> Iterator[Result]:
    """What must not grow with the fleet or the log."""
    with history.built_log(10, 10_000) as small, history.built_log(100_000, 200_000) as wide:
        value, _, ratio = alternating(lambda: history.report_cost(wide), lambda: history.report_cost(small), 3)
        yield Result("scale.agents", value * 1e6, "us/report", "10 agents instead of 100,000", ratio, ("<=", 1.5))
    with history.built_log(10_000, 50_000) as fleet:
        seconds = history.status_p50(fleet)
        yield Result("status.global", seconds * 1e3, "ms p50", "2 ms", seconds / 0.002, ("<=", 1.0))
    with history.built_log(100, 10_000) as short, history.built_log(100, 1_000_000) as long:
        value, _, ratio = alternating(lambda: history.report_cost(long), lambda: history.report_cost(short), 3)
        yield Result("scale.log", value * 1e6, "us/report", "10k events instead of 1M", ratio, ("<=", 1.5))
        value, _, ratio = alternating(lambda: history.replay_rate(long), lambda: history.raw_replay_rate(long), 3)
        yield Result("replay", value, "events/s", "raw cursor + decode + trivial fold", ratio, (">=", 0.5))
    kinds_of_log: list[tuple[str, history.Page, tuple[str, float] | None]] = [
        ("replay.varying", history.varying_reports, (">=", 0.5)),
        ("replay.holds", history.holds, None),
    ]
    for name, page, goal in kinds_of_log:
        with history.built_log(100, 300_000, page) as path:
            value, _, ratio = alternating(
                partial(history.replay_rate, path), partial(history.raw_replay_rate, path), ROUNDS
            )
            yield Result(name, value, "events/s", "raw cursor + decode + trivial fold", ratio, goal)


def restart() -> Iterator[Result]:
    """A restart from a snapshot beside a full replay."""
    with history.built_log(100_000, 1_000_000) as path:
        value, _, ratio = alternating(
            lambda: history.restart_seconds(path, with_snapshots=True),
            lambda: history.restart_seconds(path, with_snapshots=False),
            3,
        )
        yield Result("restart.snapshot", value, "s", "a full replay", ratio, ("<=", 0.2))


def rebuilds() -> Iterator[Result]:
    """Views made again beside the live ones: how fast, with the same bytes, and what the writer feels of it."""
    with history.built_log(100, 1_000_000) as path:
        views.keep_live(path)
        value, _, ratio = alternating(lambda: views.rebuild_rate(path), lambda: history.raw_replay_rate(path), 3)
        yield Result("rebuild", value, "events/s", "raw cursor + decode + trivial fold", ratio, (">=", 0.4))
    with views.writing(200_000) as writer:
        value, _, ratio = alternating(writer.beside_a_rebuild, writer.alone, ROUNDS)
        yield Result("rebuild.writer", value, "commands/s", "the same without it", ratio, (">=", 0.7))


def memory() -> Iterator[Result]:
    """Resident memory by agent, and by length of the log."""
    few, many = history.memory_bytes(1_000, 2_000), history.memory_bytes(51_000, 102_000)
    per_agent = (many - few) / 50_000
    yield Result("memory.agent", per_agent, "bytes/agent", "1,500 bytes", per_agent / 1_500, ("<=", 1.0))
    short, long = history.memory_bytes(100, 20_000), history.memory_bytes(100, 400_000)
    yield Result(
        "memory.log", (long - short) / 380_000, "bytes/event", "20k reports, then 400k", long / short, ("<=", 1.1)
    )


def exporting() -> Iterator[Result]:
    """A million events to a file in each format, and the memory that it takes."""
    with history.built_log(1_000, 100_000) as short, history.built_log(1_000, 1_000_000) as long:
        for form in exports.FORMS:
            value, _, ratio = alternating(
                partial(exports.export_rate, long, form),
                lambda: exports.reading_rate(long),
                3,
            )
            yield Result(f"export.{form}", value, "events/s", "only reading them", ratio)
            few, many = exports.exported(short, form).peak_bytes, exports.exported(long, form).peak_bytes
            yield Result(f"export.{form}.memory", many / 2**20, "MB peak", "100k events", many / few, ("<=", 1.1))


def queueing() -> Iterator[Result]:
    """What must not grow with the queue, and how evenly slots are shared."""
    value, _, ratio = alternating(lambda: admission.pick_seconds(100_000), lambda: admission.pick_seconds(100), ROUNDS)
    yield Result("queue.pick", value * 1e6, "us", "100 waiting instead of 100,000", ratio, ("<=", 4.0))
    tenants = admission.tenants_evenness()
    if tenants is not None:
        for name, value in zip(("fairness", "jain"), tenants, strict=True):
            yield Result(f"products.{name}", value, "of 1", "an even spread", value, (">=", 0.9))


def main() -> None:
    quiet()
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title="tallystick beside its ceiling", caption="ratio: ours / against; medians of alternating runs")
    for column in ("name", "value", "unit", "against", "ratio", "goal", "met"):
        table.add_column(column, justify="right" if column in ("value", "ratio") else "left")
    results = []
    played = (
        benchmark.results(console.print)
        for benchmark in (forecasts, kinds, campaign, campaign_resamples, ends, fleet, tenants)
    )
    for benchmarks in (
        throughput.results(),
        pauses.results(),
        sizes.results(),
        growth(),
        restart(),
        rebuilds(),
        memory(),
        exporting(),
        queueing(),
        sources.results(),
        tasks.results(),
        limits.results(),
        client.results(),
        dashboard.results(),
        http_service.results(),
        telemetry.results(),
        postgres.results(),
        *played,
    ):
        for result in benchmarks:
            results.append(result)
            console.print(f"{result.name}: {result.value:,.2f} {result.unit}, ratio {result.ratio:.3f}", style="dim")
            met = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[result.met]
            row = (
                result.name,
                f"{result.value:,.2f}",
                result.unit,
                result.against,
                f"{result.ratio:.3f}",
                result.shown_goal,
                met,
            )
            table.add_row(*row)
    console.print(table)
    listed = [
        {"name": r.name, "value": r.value, "unit": r.unit, "against": r.against, "ratio": r.ratio} for r in results
    ]
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(listed), indent=2) + b"\n")


if __name__ == "__main__":
    main()
