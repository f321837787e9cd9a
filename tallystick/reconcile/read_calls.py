"""Bills that list every call: OpenRouter's activity, and the spend logs of a LiteLLM proxy."""

from typing import Final

from tallystick.reconcile.billed import CACHED, DIRECTIONS, BilledRow, Line, Other, Parts, Rows

_OPENROUTER: Final = {"generation_id", "cost_total", "model_permaslug"}
_LITELLM: Final = {"request_id", "spend", "startTime"}


def is_openrouter(line: Line) -> bool:
    """Whether an object is a row of OpenRouter's activity."""
    return line.fields.keys() >= _OPENROUTER


def openrouter(line: Line) -> Rows:
    """The call of a row.

    Raises:
        BillError: something of it is not as it should be.
    """
    sent, cached = line["tokens_prompt"].count(), line["tokens_cached"].count()
    cost = line["cost_total"].nanos()
    if cost < 0:
        yield Other("Credit", cost)
        return
    yield BilledRow(
        "openrouter",
        line["created_at"].moment(),
        None,
        line["model_permaslug"].text(),
        line.first("api_key_name", "api_key_id").text(),
        call=line["generation_id"].text(),
        parts=Parts(max(0, sent - cached), cached, 0, line["tokens_completion"].count()),
        requests=1,
        cost=cost,
        detail=CACHED,
    )


def is_litellm(line: Line) -> bool:
    """Whether an object is a spend log."""
    return line.fields.keys() >= _LITELLM


def litellm(line: Line) -> Rows:
    """The call of a spend log; one that failed and cost nothing is none.

    Raises:
        BillError: something of it is not as it should be.
    """
    cost = line["spend"].nanos()
    sent, got = line["prompt_tokens"].count(), line["completion_tokens"].count()
    if cost < 0:
        yield Other("Credit", cost)
        return
    if not cost and not sent and not got:
        return
    yield BilledRow(
        "litellm",
        line["startTime"].moment(),
        None,
        line["model"].text(),
        line["api_key"].text(),
        line["agent_id"].text(),
        call=line["request_id"].text(),
        parts=Parts(sent, 0, 0, got),
        requests=1,
        cost=cost,
        detail=DIRECTIONS,
    )
