"""What OpenAI exports: usage of completions and costs, as its administration API gives pages (JSON) and as its dashboard
writes them (CSV, one row a result).
"""

from typing import Final

from tallystick.reconcile.billed import CACHED, BilledRow, Found, Line, Other, Parts, Rows, nothing_else_than_dollars

PROVIDER: Final = "openai"
_COUNTS: Final = ("input_tokens", "output_tokens", "num_model_requests")
_KINDS: Final = ("cached input", "input", "output")


def looks_so(line: Line) -> bool:
    """Whether an object is a page, or a row, of usage or costs."""
    if {"start_time", "end_time"} <= line.fields.keys():
        return True
    data = line.fields.get("data")
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and ("start_time" in first or first.get("object") == "bucket")


def rows(line: Line) -> Rows:
    """The lines of a page, a bucket, or a row.

    Raises:
        BillError: something of it is not as it should be.
    """
    if "data" in line.fields:
        for bucket in line.lines("data"):
            yield from _bucket(bucket)
    elif "results" in line.fields:
        yield from _bucket(line)
    else:
        yield from _result(line, line)


def _bucket(bucket: Line) -> Rows:
    for result in bucket.lines("results"):
        yield from _result(bucket, result)


def _result(bucket: Line, result: Line) -> Rows:
    began, ended = bucket["start_time"].moment(), bucket["end_time"].moment()
    key = result["api_key_id"].text()
    if "amount" in result.fields or "amount_value" in result.fields:
        cost, item = _amount(result), result["line_item"].text()
        model = None if item is None else _model_of(item)
        if cost < 0:
            yield Other("Credit", cost)
        elif cost:
            yield BilledRow(PROVIDER, began, ended, model, key, cost=cost, item=None if model else item or "costs")
    elif any(name in result.fields for name in _COUNTS):
        sent, cached = result["input_tokens"].count(), result["input_cached_tokens"].count()
        if cached > sent:
            raise result["input_cached_tokens"].bad(f"at most input_tokens, {sent}")
        parts = Parts(sent - cached, cached, 0, result["output_tokens"].count())
        requests = result["num_model_requests"].count()
        if parts.all or requests:
            yield BilledRow(PROVIDER, began, ended, result["model"].text(), key, parts=parts, requests=requests, detail=CACHED)
    else:
        raise Found(result.place, "input_tokens", None).bad("a result of usage of completions, or of costs")


def _amount(result: Line) -> int:
    """Nano-dollars of a result of costs."""
    if "amount_value" in result.fields:
        nothing_else_than_dollars(result["amount_currency"])
        return result["amount_value"].nanos()
    amount = result.inner("amount")
    nothing_else_than_dollars(amount["currency"])
    return amount["value"].nanos()


def _model_of(item: str) -> str | None:
    """The model of an item like ``gpt-4o-2024-08-06, cached input``; None where it is of no model's tokens."""
    model, _, kind = item.rpartition(", ")
    return model if model and kind.lower() in _KINDS else None
