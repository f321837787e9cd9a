"""Amounts of all dimensions as plain integers, and what is reckoned with them."""

from tallystick.config.amounts import Triple

Money = tuple[int, int, int]
ZERO: Money = (0, 0, 0)

_DIMS: dict[tuple[bool, bool, bool], tuple[int, ...]] = {
    (first, second, third): tuple(d for d, named in enumerate((first, second, third)) if named)
    for first in (True, False)
    for second in (True, False)
    for third in (True, False)
}


def limited_dimensions(limits: Triple) -> tuple[int, ...]:
    """The dimensions that an allocation limits; equal ones share one tuple."""
    return _DIMS[limits[0] is not None, limits[1] is not None, limits[2] is not None]


def money(amounts: Triple) -> Money:
    """Amounts as plain integers, zero where a dimension is not named."""
    return (amounts[0] or 0, amounts[1] or 0, amounts[2] or 0)


def limited(limits: Triple, values: "list[int] | Money") -> Triple:
    """``values`` in the dimensions that ``limits`` limits."""
    return (
        None if limits[0] is None else values[0],
        None if limits[1] is None else values[1],
        None if limits[2] is None else values[2],
    )


def plus(left: Money, right: Money) -> Money:
    """The sum, dimension by dimension."""
    return (left[0] + right[0], left[1] + right[1], left[2] + right[2])


def minus(left: Money, right: Money) -> Money:
    """The difference, dimension by dimension."""
    return (left[0] - right[0], left[1] - right[1], left[2] - right[2])


def only(d: int, units: int) -> Money:
    """``units`` in one dimension, nothing in the others."""
    return (units if d == 0 else 0, units if d == 1 else 0, units if d == 2 else 0)


def less(left: Money, right: Money) -> Money:
    """Subtraction that ends at zero."""
    return (max(0, left[0] - right[0]), max(0, left[1] - right[1]), max(0, left[2] - right[2]))
