"""What Anthropic's administration interface says: usage (tokens by workspace, key and model) or costs (by workspace and
description), in buckets. Amounts are texts, in hundredths of the currency.
"""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from tallystick.importing.buckets import Bucket, source_of
from tallystick.importing.buckets import read as read_buckets
from tallystick.importing.fields import Fields
from tallystick.importing.files import Opened
from tallystick.importing.used import DOLLARS, Used, labelled, named

_TIMES: Final = ("starting_at", "ending_at")
_APART: Final = ("workspace_id", "api_key_id", "model", "service_tier", "context_window", "inference_geo", "account_id")
_APART_IN_COSTS: Final = ("workspace_id", "description", "cost_type", "model", "service_tier", "context_window",
                          "token_type", "inference_geo")  # fmt: skip
_HUNDREDTH: Final = Decimal("0.01")
_SEVERAL: Final = 2
"""A sum is one of more than one request: so no price for long requests is taken for it."""


def read(file: Opened, now: dt.datetime) -> Iterator[Used]:
    """What a file says was used, or what it cost."""
    return read_buckets(file, _TIMES, lambda bucket, fields: _used(bucket, fields, now))


def _used(bucket: Bucket, fields: Fields, now: dt.datetime) -> Used | None:
    if "amount" in fields:
        return _cost(bucket, fields, now)
    caches = fields.inside("cache_creation")
    short, hour = (caches.count(f"ephemeral_{life}_input_tokens") or 0 for life in ("5m", "1h"))
    fresh, read_again, output = (
        fields.count(name) or 0 for name in ("uncached_input_tokens", "cache_read_input_tokens", "output_tokens")
    )
    tokens = fresh + read_again + short + hour + output
    if not tokens:
        return None
    source = source_of("anthropic", "usage", bucket, *(fields.text(name) for name in _APART))
    return Used(
        key=source,
        source=source,
        agent=named("anthropic", fields.text("workspace_id")),
        at=bucket.middle(now),
        model=fields.text("model"),
        tokens=tokens,
        counts={
            "provider_usage": {
                "input_tokens": fresh,
                "output_tokens": output,
                "cache_read_input_tokens": read_again,
                "cache_creation_input_tokens": short + hour,
                "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": hour},
            }
        },
        requests=_SEVERAL,
        labels=_labels(fields),
    )


def _cost(bucket: Bucket, fields: Fields, now: dt.datetime) -> Used | None:
    amount = fields.money("amount")
    if not amount:
        return None
    currency = (fields.text("currency") or DOLLARS).upper()
    description = fields.text("description")
    source = source_of("anthropic", "costs", bucket, *(fields.text(name) for name in _APART_IN_COSTS), currency)
    return Used(
        key=source,
        source=source,
        agent=named("anthropic", fields.text("workspace_id")),
        at=bucket.middle(now),
        model=fields.text("model"),
        tokens=0,
        counts={},
        cost=amount * _HUNDREDTH,
        currency=currency,
        operation=None if description is None else named(description),
        labels=_labels(fields),
    )


def _labels(fields: Fields) -> dict[str, str]:
    return labelled(
        workspace=fields.text("workspace_id"),
        key=fields.text("api_key_id"),
        service_tier=fields.text("service_tier"),
        context_window=fields.text("context_window"),
    )
