"""Options that are numbers: what was found, and what is allowed, in one sentence."""

import math
from typing import Any

import click


class WholeNumber(click.IntRange):
    """A whole number from ``min`` on, or up to ``max``."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            upto = "on" if self.max is None else f"to {self.max}"
            self.fail(f"found {str(value)[:40]!r}, allowed is a whole number from {self.min} {upto}", param, ctx)


class Seconds(click.FloatRange):
    """Seconds from ``min`` to ``max``."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            found = super().convert(value, param, ctx)
        except click.BadParameter:
            found = math.nan
        if math.isnan(found):  # also where the text says so: it is neither below the least nor above the most
            allowed = f"seconds from {self.min:g} to {self.max:g}"
            self.fail(f"found {str(value)[:40]!r}, allowed are {allowed}", param, ctx)
        return found
