"""The formats of bills: what tells each, and its lines."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, NamedTuple

from tallystick.reconcile import read_anthropic, read_calls, read_focus, read_openai
from tallystick.reconcile.billed import BillError, Line, Rows
from tallystick.reconcile.objects import objects_of


class Format(NamedTuple):
    """A format: whether the first object of a file is of it, and the lines that an object gives."""

    looks_so: Callable[[Line], bool]
    rows: Callable[[Line], Rows]


FORMATS: Final[dict[str, Format]] = {
    "anthropic": Format(read_anthropic.looks_so, read_anthropic.rows),
    "openai": Format(read_openai.looks_so, read_openai.rows),
    "openrouter": Format(read_calls.is_openrouter, read_calls.openrouter),
    "litellm": Format(read_calls.is_litellm, read_calls.litellm),
    "focus": Format(read_focus.looks_so, read_focus.rows),
}
"""In the order in which they are tried."""


def read_bill(file: Path, name: str | None = None) -> tuple[str, Rows]:
    """The format of a file, and its lines as they are read; ``name`` is that of the format, which is found otherwise.

    Raises:
        BillError: it is of none; and while lines are read, where one cannot be.
        OSError: it cannot be read.
    """
    lines = objects_of(file)
    first = next(lines, None)
    if first is None:
        raise BillError(f"{file.name}: found nothing, allowed is a bill in one of {', '.join(FORMATS)}")
    found = name or next((one for one, form in FORMATS.items() if form.looks_so(first)), None)
    if found is None:
        fields = ", ".join(sorted(map(str, first.fields))[:8])
        raise BillError(
            f"{first.place}: found the fields {fields}, allowed are those of {', '.join(FORMATS)}; --format names one"
        )
    return found, _rows(FORMATS[found], chain((first,), lines))


def _rows(form: Format, lines: Iterator[Line]) -> Rows:
    for line in lines:
        yield from form.rows(line)
