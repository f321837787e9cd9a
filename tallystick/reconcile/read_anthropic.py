"""What Anthropic exports: the usage and the cost report of its administration API, in pages (JSON)."""

from typing import Final

from tallystick.reconcile.billed import BilledRow, Found, Line, Other, Parts, Rows, nothing_else_than_dollars

PROVIDER: Final = "anthropic"
_NANOS_PER_CENT: Final = 10_000_000


def looks_so(line: Line) -> bool:
    """Whether an object is a page of usage or costs."""
    data = line.fields.get("data")
    first = data[0] if isinstance(data, list) and data else line.fields
    return isinstance(first, dict) and "starting_at" in first


def rows(line: Line) -> Rows:
    """The lines of a page, or a bucket.

    Raises:
        BillError: something of it is not as it should be.
    """
    for bucket in line.lines("data") if "data" in line.fields else (line,):
        for result in bucket.lines("results"):
            yield from _result(bucket, result)


def _result(bucket: Line, result: Line) -> Rows:
    began, ended = bucket["starting_at"].moment(), bucket["ending_at"].moment()
    key, model = result["api_key_id"].text(), result["model"].text()
    if "amount" in result.fields:
        nothing_else_than_dollars(result["currency"])
        cost = result["amount"].nanos(_NANOS_PER_CENT)
        is_tokens = result["cost_type"].text() in (None, "tokens")
        item = result.first("description", "cost_type").text()
        if cost < 0:
            yield Other("Credit", cost)
        elif cost:
            named = model if is_tokens else None
            yield BilledRow(PROVIDER, began, ended, named, key, cost=cost, item=None if named else item or "costs")
    elif "output_tokens" in result.fields:
        created = result.inner("cache_creation")
        written = sum(created[name].count() for name in ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"))
        fresh = result.first("uncached_input_tokens", "input_tokens").count()
        parts = Parts(fresh, result["cache_read_input_tokens"].count(), written, result["output_tokens"].count())
        if parts.all:
            yield BilledRow(PROVIDER, began, ended, model, key, parts=parts)
    else:
        raise Found(result.place, "output_tokens", None).bad("a result of a usage report, or of a cost report")
