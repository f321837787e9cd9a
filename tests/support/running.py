"""What tests with a running fleet share: how it is opened, and a configuration in which nothing happens by itself."""

from collections.abc import Callable

from tallystick.actors.runtime.fleet import Fleet

OpenFleet = Callable[..., Fleet]


QUIET = {
    "total_budget": {"tokens": 1_000_000, "cost_usd": "1000.00"},
    "emergency_reserve_percent": 0,
    "minimum_share_percent": 0,
    "max_pool_share_percent": 100,
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
}
"""A fleet that has enough, in which nothing happens by itself but what a test is about."""
