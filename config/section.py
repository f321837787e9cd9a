"""What every section of the settings is."""

import itertools

import msgspec

from tallystick.config.errors import Unfit


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A map with known keys."""


def check_rising(section: Section, names: tuple[str, ...]) -> None:
    """Each threshold may equal the next, but not lie above it."""
    for lower, upper in itertools.pairwise(names):
        if (low := getattr(section, lower)) > (high := getattr(section, upper)):
            raise Unfit({(lower,): f"at most {upper} ({high})", (upper,): f"at least {lower} ({low})"})
