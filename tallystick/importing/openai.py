"""What OpenAI's administration interface says: usage (tokens by project, key and model) or costs (by project and line
of the bill), in buckets.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Final

from tallystick.importing.buckets import Bucket, source_of
from tallystick.importing.buckets import read as read_buckets
from tallystick.importing.fields import Fields
from tallystick.importing.files import Opened
from tallystick.importing.used import DOLLARS, Used, labelled, named

_TIMES: Final = ("start_time", "end_time")
_APART: Final = ("project_id", "user_id", "api_key_id", "model", "service_tier")


def read(file: Opened, now: dt.datetime) -> Iterator[Used]:
    """What a file says was used, or what it cost."""
    return read_buckets(file, _TIMES, lambda bucket, fields: _used(bucket, fields, now))


def _used(bucket: Bucket, fields: Fields, now: dt.datetime) -> Used | None:
    if "amount" in fields or "amount_value" in fields:
        return _cost(bucket, fields, now)
    sent, got = fields.count("input_tokens") or 0, fields.count("output_tokens") or 0
    cached, heard, spoken = (
        fields.count(name) or 0 for name in ("input_cached_tokens", "input_audio_tokens", "output_audio_tokens")
    )
    sent, got = max(sent, cached, heard), max(got, spoken)
    if not sent + got:
        return None
    source = source_of("openai", "usage", bucket, *(fields.text(name) for name in _APART), _batch(fields))
    return Used(
        key=source,
        source=source,
        agent=named("openai", fields.text("project_id")),
        at=bucket.middle(now),
        model=fields.text("model"),
        tokens=sent + got,
        counts={
            "input_tokens": sent,
            "output_tokens": got,
            "cached_tokens": cached,
            "audio_input_tokens": heard,
            "audio_output_tokens": spoken,
        },
        requests=fields.count("num_model_requests"),
        labels=_labels(fields),
    )


def _cost(bucket: Bucket, fields: Fields, now: dt.datetime) -> Used | None:
    amount = fields.inside("amount")
    cost = amount.money("value") if "value" in amount else fields.money("amount_value")
    if not cost:
        return None
    currency = (amount.text("currency") or fields.text("amount_currency") or DOLLARS).upper()
    line, project = fields.text("line_item"), fields.text("project_id")
    source = source_of("openai", "costs", bucket, project, fields.text("api_key_id"), line, currency)
    return Used(
        key=source,
        source=source,
        agent=named("openai", project),
        at=bucket.middle(now),
        tokens=0,
        counts={},
        cost=cost,
        currency=currency,
        operation=None if line is None else named(line),
        labels=_labels(fields),
    )


def _labels(fields: Fields) -> dict[str, str]:
    return labelled(
        project=fields.text("project_id"),
        user=fields.text("user_id"),
        key=fields.text("api_key_id"),
        service_tier=fields.text("service_tier"),
        batch=_batch(fields),
    )


def _batch(fields: Fields) -> str | None:
    return "true" if fields.flag("batch") else None
