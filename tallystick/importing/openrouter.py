"""The activity of OpenRouter: CSV, one row per generation, with what it cost."""

from collections.abc import Iterator
from typing import Final

from tallystick.importing.fields import Fields
from tallystick.importing.files import Opened
from tallystick.importing.notes import Misread
from tallystick.importing.rows import rows_of
from tallystick.importing.used import Used, labelled, named
from tallystick.sources_of_tools import provider_id

COLUMNS: Final = ("generation_id", "created_at", "cost_total", "tokens_prompt", "tokens_completion", "model_permaslug")


def read(file: Opened) -> Iterator[Used]:
    """The generations of a file."""
    for row in rows_of(file, COLUMNS):
        try:
            used = _used(Fields(row.values))
        except Misread as error:
            file.notes.cannot_read(file.place(row.line), error)
            continue
        if used is None:
            file.notes.drop("of no use")
            continue
        used.file, used.line = file.name, row.line
        yield used


def _used(fields: Fields) -> Used | None:
    id, at = fields.text("generation_id"), fields.moment("created_at")
    if id is None:
        raise fields.misread("generation_id", "the id of a generation")
    if at is None:
        raise fields.misread("created_at", "a time like 2026-03-04T12:00:00Z")
    prompt, completion = fields.count("tokens_prompt") or 0, fields.count("tokens_completion") or 0
    cached, reasoning = fields.count("tokens_cached") or 0, fields.count("tokens_reasoning") or 0
    cost, app = fields.money("cost_total"), fields.text("app_name")
    if not prompt + completion and not cost:
        return None
    source = provider_id(id)
    return Used(
        key=source,
        source=source,
        agent=named("openrouter", app),
        at=at,
        model=fields.text("model_permaslug"),
        tokens=max(prompt, cached) + max(completion, reasoning),
        counts={
            "input_tokens": max(prompt, cached),
            "output_tokens": max(completion, reasoning),
            "cached_tokens": cached,
            "reasoning_tokens": reasoning,
        },
        cost=cost,
        labels=labelled(app=app, provider=fields.text("provider_name"), key=fields.text("api_key_name")),
    )
