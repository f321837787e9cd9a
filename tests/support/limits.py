"""The seed's limits, for tests whose figures are the seed's: a configuration of their own would be without them."""

from collections.abc import Mapping
from typing import Any

SEED_LIMITS: Mapping[str, Mapping[str, Any]] = {
    "max_concurrent": {"total": 5, "per_type": {"backend-engineer": 2, "frontend-engineer": 2}},
    "token_budgets": {"default": 80_000, "architect": 150_000, "backend-engineer": 80_000, "qa-engineer": 60_000},
    "daily_limits": {"max_tokens_total": 2_000_000, "max_cost_usd": 100},
}


def with_seed_limits(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration over the seed's limits, key by key."""
    return {**mapping, **{key: _over(mapping.get(key, {}), limits) for key, limits in SEED_LIMITS.items()}}


def _over(mapping: Any, below: Mapping[str, Any]) -> Any:
    if not isinstance(mapping, Mapping):
        return mapping
    merged = {**below, **mapping}
    for key, value in below.items():
        if isinstance(value, Mapping) and key in mapping:
            merged[key] = _over(mapping[key], value)
    return merged
