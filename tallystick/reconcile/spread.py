"""Differences spread over records, exactly: the parts add up to the whole, and none is less than nothing."""

from collections.abc import Sequence

from tallystick.reconcile.billed import GROUPS, Parts, grouped


def spread(amount: int, weights: Sequence[int]) -> list[int]:
    """``amount`` (not negative) in whole parts in proportion to the weights, the largest remainders first.

    Where ``amount`` is at most the sum of the weights, no part is more than its weight. Without any weight, the first
    gets all.
    """
    whole = sum(weights)
    if not whole:
        return [amount, *([0] * (len(weights) - 1))]
    shares = [divmod(amount * weight, whole) for weight in weights]
    parts = [share for share, _ in shares]
    left = amount - sum(parts)
    for place in sorted(range(len(shares)), key=lambda place: (-shares[place][1], place))[:left]:
        parts[place] += 1
    return parts


def moved_to(parts: Parts, target: Parts, detail: int) -> Parts:
    """The parts of a record so changed that they are what a bill of this detail says."""
    wanted = grouped(target, detail)
    new = list(parts)
    for group, want in zip(GROUPS[detail], wanted, strict=True):
        have = sum(parts[place] for place in group)
        if want >= have:
            new[group[0]] += want - have
        else:
            for place, less in zip(group, spread(have - want, [parts[place] for place in group]), strict=True):
                new[place] -= less
    return Parts(*new)
