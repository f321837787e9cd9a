"""How evenly something is spread by weight: the fairness of budgets over agents, and of slots over products (spec 2).

**Share** is what one has of what it is entitled to: amount / (weight / Σ weights × Σ amounts). It has no unit, and is 1
for all where the spread is perfect. **Fairness** is 1 - variance / mean of the shares. **Jain's index** of them is
(Σx)² / (n Σx²) (Jain, Chiu, Hawe: A Quantitative Measure of Fairness, DEC TR-301, 1984).
"""

from collections.abc import Sequence


def shares(amounts: Sequence[tuple[float, float]]) -> list[float]:
    """The share of each, from its amount (not below 0) and its weight (above 0); none where all amounts are 0."""
    total, weights = sum(amount for amount, _ in amounts), sum(weight for _, weight in amounts)
    return [amount * weights / (weight * total) for amount, weight in amounts] if total else []


def fairness(shares: Sequence[float]) -> float | None:
    """1 - variance / mean, rounded to 6 places; None of nothing."""
    if not shares:
        return None
    mean = sum(shares) / len(shares)
    variance = sum((share - mean) ** 2 for share in shares) / len(shares)
    return round(1 - variance / mean, 6)


def jain(shares: Sequence[float]) -> float | None:
    """Jain's index, from 1/n to 1, rounded to 6 places; None of nothing."""
    if not shares:
        return None
    return round(sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares)), 6)
