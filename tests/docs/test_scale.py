"""The page about many fleets shows what the simulation says."""

from benchmarks.scale import Assumed, Measured, needs, table
from tests.support.pages import PROJECT


def test_the_page_has_the_table_of_the_simulation() -> None:
    assert table() in (PROJECT / "docs" / "explanation" / "scale.md").read_text(encoding="utf-8")


def test_twice_as_many_open_fleets_in_a_shard_are_without_a_writer_for_longer() -> None:
    few, many = (needs(100_000, Measured(), Assumed(fleets_per_shard=count)) for count in (100, 200))
    assert few.away_seconds_worst < 10 < many.away_seconds_worst
    assert few.shards > many.shards
