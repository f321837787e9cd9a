"""The objects of a file, one after the other, in memory that does not grow with it: JSON documents, one or many, a list
of objects, one object a line, or the rows of a CSV file.
"""

import csv
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final, TextIO

from tallystick.reconcile.billed import BillError, Line

_CHUNK: Final = 1 << 16
_OBJECT_MAX: Final = 1 << 28
"""So many characters may one object of a file have."""
_FIELD_MAX: Final = 1 << 20
_BETWEEN: Final = " \t\r\n,"


def objects_of(file: Path) -> Iterator[Line]:
    """The objects of a file, each with its place; numbers are exact.

    Raises:
        BillError: it is no JSON and no CSV, or not UTF-8.
        OSError: it cannot be read.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            first = _first_sign(text)
            yield from _json_objects(text, file.name) if first in ("{", "[") else _csv_rows(text, file.name)
    except UnicodeDecodeError as error:
        raise BillError(f"{file.name}: found bytes that are no UTF-8 ({error.reason}), allowed is UTF-8") from None


def _first_sign(text: TextIO) -> str:
    """The first character that is no white space; the file is at its beginning again."""
    sign = ""
    while not sign:
        part = text.read(_CHUNK)
        if not part:
            break
        sign = part.lstrip()[:1]
    text.seek(0)
    return sign


def _csv_rows(text: TextIO, name: str) -> Iterator[Line]:
    csv.field_size_limit(_FIELD_MAX)
    reader = csv.DictReader(text)
    try:
        for row in reader:
            place = f"{name}:{reader.line_num}"
            if None in row:
                raise BillError(f"{place}: found more cells than the head has columns, allowed are {len(row) - 1}")
            yield Line(place, dict(row))
    except csv.Error as error:
        raise BillError(f"{name}:{reader.line_num}: {error}") from None


def _json_objects(text: TextIO, name: str) -> Iterator[Line]:
    """Every object at the top, and every one in a list at the top."""
    decoder = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_number)
    kept, count, size, is_last = "", 0, _CHUNK, False
    while True:
        kept = kept.lstrip(_BETWEEN if count else _BETWEEN + "[")
        if kept[:1] in ("]", "["):
            # The end of a list, or the beginning of the next: of its objects each counts.
            kept = kept[1:]
            continue
        if kept:
            try:
                found, end = decoder.raw_decode(kept)
            except json.JSONDecodeError as error:
                if is_last or len(kept) > _OBJECT_MAX:
                    place = f"{name}: object {count + 1}"
                    raise BillError(f"{place}: {error.msg} at character {error.pos}: allowed is JSON, or CSV") from None
            else:
                kept, count, size = kept[end:], count + 1, _CHUNK
                if not isinstance(found, dict):
                    raise BillError(f"{name}: object {count}: found {str(found)[:60]!r}, allowed are objects")
                yield Line(f"{name}: object {count}", found)
                continue
        elif is_last:
            return
        # An object that is longer than what was read: twice as much each time, so that it is tried a few times only.
        part = text.read(size)
        size, is_last, kept = size * 2, not part, kept + part


def _no_number(text: str) -> None:
    raise BillError(f"found {text}, allowed are numbers")
