"""The spend logs of LiteLLM (``LiteLLM_SpendLogs``): rows in CSV, JSON lines or JSON, as they come from its database or
from ``/spend/logs``.
"""

from collections.abc import Iterator
from typing import Any, Final

from tallystick.events.messages.provider_usage import COUNT_MAX, stripped
from tallystick.importing.fields import Fields
from tallystick.importing.files import Opened
from tallystick.importing.notes import Misread
from tallystick.importing.rows import Row, rows_of
from tallystick.importing.used import Used, labelled, named
from tallystick.sources_of_tools import provider_id

COLUMNS: Final = ("request_id", "spend", "total_tokens", "prompt_tokens", "completion_tokens", "startTime", "model")


def read(file: Opened) -> Iterator[Used]:
    """The requests of a file."""
    for row in rows_of(file, COLUMNS):
        for fields in _requests(row):
            try:
                used = _used(fields)
            except Misread as error:
                file.notes.cannot_read(file.place(row.line), error)
                continue
            if isinstance(used, str):
                file.notes.drop(used)
                continue
            used.file, used.line = file.name, row.line
            yield used


def _requests(row: Row) -> Iterator[Fields]:
    """The row itself, or those of a page of them."""
    page = Fields(row.values)
    if "data" not in page:
        yield page
        return
    yield from (Fields(one) for one in page.items("data") if isinstance(one, dict))


def _used(fields: Fields) -> Used | str:
    """What a request used; or why it is none."""
    id, at = fields.text("request_id"), fields.moment("endTime", "startTime")
    if id is None:
        raise fields.misread("request_id", "the id of a request")
    if at is None:
        raise fields.misread("startTime", "a time like 2026-03-04T12:00:00Z")
    if fields.flag("cache_hit"):
        return "answered from LiteLLM's own cache"
    prompt, completion = fields.count("prompt_tokens") or 0, fields.count("completion_tokens") or 0
    tokens = max(fields.count("total_tokens") or 0, prompt + completion)
    spend = fields.money("spend")
    if not tokens and not spend:
        return "of no use"
    source, metadata = provider_id(id), fields.inside("metadata")
    user, team = fields.text("user"), fields.text("team_id")
    alias = metadata.text("user_api_key_alias")
    return Used(
        key=source,
        source=source,
        agent=named("litellm", fields.text("agent_id") or alias or user or team),
        at=at,
        model=_model(fields),
        tokens=tokens,
        counts=_counts(prompt, tokens, metadata.inside("usage_object").values),
        cost=spend,
        labels=labelled(
            user=user,
            team=team,
            end_user=fields.text("end_user"),
            tag=next((tag for tag in fields.items("request_tags") if isinstance(tag, str)), None),
            session=fields.text("session_id"),
            key=alias,
        ),
    )


def _counts(prompt: int, tokens: int, usage: Any) -> dict[str, Any]:
    """The tokens of a row, with their kinds where the row has the usage object of the provider."""
    counts: dict[str, Any] = {"input_tokens": prompt, "output_tokens": tokens - prompt}
    kinds = stripped(usage)
    if kinds is not None and tokens <= COUNT_MAX:
        counts["provider_usage"] = kinds
    return counts


def _model(fields: Fields) -> str | None:
    model, provider = fields.text("model"), fields.text("custom_llm_provider")
    return model if model is None or provider is None or "/" in model else named(provider, model)
