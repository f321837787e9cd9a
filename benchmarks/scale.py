"""What many fleets need, by a simulation of a year in which machines fail: ``python -m benchmarks.scale``.

Its parameters were measured by ``python -m benchmarks.cluster`` and ``make cluster`` on two shared cores. What these
did not run is extrapolated, all beyond 100 open fleets in a process and 300 on three nodes: it is assumed that a cost
per fleet or message stays what it is where there are more.
"""

import random
from typing import Final

import msgspec

SIZES: Final = (10, 1_000, 100_000, 1_000_000)


class Measured(msgspec.Struct, frozen=True):
    """Of one process each. Seconds are of a processor, bytes of memory."""

    process_bytes: float = 116e6
    open_fleet_bytes: float = 1.12e6
    opening_seconds: float = 0.024
    request_seconds: float = 640e-6
    worker_back_seconds: float = 1.1
    """From the death of a process until Ray has started it again."""
    machine_back_seconds: float = 4.5
    """From the death of a machine until Ray has started its processes elsewhere."""
    lease_seconds: float = 5.0
    """How long a dead writer's lease keeps others out at most."""
    connections_per_shard: int = 38
    """At most: 32 that write, 4 that read, one that renews leases, one that notifies."""


class Assumed(msgspec.Struct, frozen=True):
    """How the fleets are used, and on what they run."""

    open_share: float = 0.1
    messages_per_second: float = 0.2
    """Of an open fleet."""
    fleets_per_shard: int = 100
    """Open at a time: what is opened anew within seconds after a failure."""
    shards_per_machine: int = 8
    load_max: float = 0.5
    """How much of a processor a shard uses at most."""
    machine_fails_per_year: float = 4.0
    worker_fails_per_year: float = 12.0
    seed: int = 7


class Needs(msgspec.Struct, frozen=True):
    fleets: int
    open_fleets: int
    shards: int
    machines: int
    memory_bytes: float
    appends_per_second: float
    connections: int
    moves_per_year: int
    away_seconds_median: float
    away_seconds_worst: float
    away_per_fleet_year: float


def needs(fleets: int, measured: Measured, assumed: Assumed) -> Needs:
    """Shards by what is open and by load, and a year of failures."""
    opened = max(1, round(fleets * assumed.open_share)) if fleets > SIZES[0] else fleets
    rate = opened * assumed.messages_per_second
    by_load = rate * measured.request_seconds / assumed.load_max
    shards = max(2, -(-opened // assumed.fleets_per_shard), -int(-by_load // 1))
    machines = max(2, -(-shards // assumed.shards_per_machine))
    memory = shards * measured.process_bytes + machines * measured.process_bytes + opened * measured.open_fleet_bytes
    away = year(opened / shards, shards, machines, measured, assumed)
    moves = round(sum(count for count, _ in away))
    waits = sorted(seconds for _, seconds in away) or [0.0]
    in_all = sum(count * seconds for count, seconds in away)
    return Needs(
        fleets=fleets,
        open_fleets=opened,
        shards=shards,
        machines=machines,
        memory_bytes=memory,
        appends_per_second=rate,
        connections=shards * measured.connections_per_shard,
        moves_per_year=moves,
        away_seconds_median=waits[len(waits) // 2],
        away_seconds_worst=waits[-1],
        away_per_fleet_year=in_all / opened,
    )


def year(
    per_shard: float, shards: int, machines: int, measured: Measured, assumed: Assumed
) -> list[tuple[float, float]]:
    """The failures of a year: how many open fleets each hits, and for how many seconds these have no writer."""
    chance = random.Random(assumed.seed)
    found = []
    for kind, things, rate in (
        ("machine", machines, assumed.machine_fails_per_year),
        ("worker", shards, assumed.worker_fails_per_year),
    ):
        for _ in range(round(things * rate)):
            hit = per_shard * (shards / machines if kind == "machine" else 1.0)
            back = measured.machine_back_seconds if kind == "machine" else measured.worker_back_seconds
            # The lease of a dead writer was renewed at some moment of its last third.
            lease = chance.uniform(measured.lease_seconds * 2 / 3, measured.lease_seconds)
            # Each shard opens its fleets one after the other, on half of a processor; half of them wait longer.
            opening = per_shard * measured.opening_seconds / assumed.load_max * chance.random()
            found.append((hit, max(back, lease) + opening))
    return found


def table() -> str:
    """The table of docs/explanation/scale.md."""
    columns = (
        *("fleets", "open", "shards", "machines", "memory", "appends/s", "connections", "moves a year"),
        *("without a writer, each time", "in a year"),
    )
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for fleets in SIZES:
        one = needs(fleets, Measured(), Assumed())
        waits = f"{one.away_seconds_median:.1f} s, at most {one.away_seconds_worst:.1f} s"
        cells = (
            f"{one.fleets:,}",
            f"{one.open_fleets:,}",
            f"{one.shards:,}",
            f"{one.machines:,}",
            f"{one.memory_bytes / 1e9:.1f} GB",
            f"{one.appends_per_second:,.0f}",
            f"{one.connections:,}",
            f"{one.moves_per_year:,}",
            waits,
            f"{one.away_per_fleet_year:.0f} s",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
