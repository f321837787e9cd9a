"""What a model's tokens cost: prices per million tokens, tiers for long requests, and the cost of one request."""

from typing import Any, Final, NamedTuple

import msgspec

MILLION: Final = 1_000_000


class Tokens(NamedTuple):
    """The tokens of one request, or of several, as prices tell them apart.

    ``input`` is all input, with what was read from a cache (``cached``), what was written to one (``cache_write``, of
    which ``cache_write_1h`` to one that lives for an hour) and audio. ``output`` is all output, with reasoning and
    audio.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    audio_output: int = 0


class Line(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Prices that are published or written for some models only. What is None costs what other input, or other output,
    does; a token written to a cache for an hour what any token written to a cache does.
    """

    cache_write: int | None = None
    cache_write_1h: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None


class Tier(Line, frozen=True, gc=False):
    """What a long request costs: with more than ``above`` input tokens, all of its tokens cost this."""

    above: int
    input: int
    output: int
    cached_input: int


class ModelPrice(Line, frozen=True, gc=False):
    """Nano-dollars per million tokens. ``cached_input`` is for the part of the input that came from a cache.

    ``tiers`` are by rising ``above``: of those that a request is above, the last holds for all of it. ``flat``: a
    written price that has no tiers, whatever is published.
    """

    input: int
    output: int
    cached_input: int
    tiers: tuple[Tier, ...] = ()
    flat: bool = False

    def at(self, input_tokens: int) -> "ModelPrice | Tier":
        """What holds for a request of so many input tokens, the cached ones included."""
        found: ModelPrice | Tier = self
        for tier in self.tiers:
            if input_tokens > tier.above:
                found = tier
        return found

    def cost(
        self,
        input_tokens: int,
        output_tokens: int = 0,
        cached_tokens: int = 0,
        cache_write: int = 0,
        cache_write_1h: int = 0,
        audio_input: int = 0,
        audio_output: int = 0,
        *,
        base: bool = False,
    ) -> int:
        """Nano-dollars of one request, rounded up, once; the arguments are those of `Tokens`.

        ``base``: at the base tier, however many tokens there are, as for the total of many requests.
        """
        price = self.at(input_tokens) if self.tiers and not base else self
        fresh = input_tokens - cached_tokens
        per_million = fresh * price.input + output_tokens * price.output + cached_tokens * price.cached_input
        if cache_write or audio_input or audio_output:
            # These are a part of the input, or of the output, that was counted above: here is what differs.
            written, hour, heard, spoken = rates(price)
            per_million += cache_write * (written - price.input) + cache_write_1h * (hour - written)
            per_million += audio_input * (heard - price.input) + audio_output * (spoken - price.output)
        return max(0, -(-per_million // MILLION))


def rates(price: "ModelPrice | Tier") -> tuple[int, int, int, int]:
    """What a million tokens cost that are written to a cache, or to one for an hour, heard, or spoken."""
    written = price.input if price.cache_write is None else price.cache_write
    return (
        written,
        written if price.cache_write_1h is None else price.cache_write_1h,
        price.input if price.audio_input is None else price.audio_input,
        price.output if price.audio_output is None else price.audio_output,
    )


PARTS: Final = ("input", "output", "cached_input", "cache_write", "cache_write_1h", "audio_input", "audio_output")
"""The prices that a file may write, in the order in which they are shown."""


def scaled(written: ModelPrice, published: ModelPrice) -> ModelPrice:
    """A written price with what it leaves out taken from the published price of the same model, in proportion.

    What has no price of its own costs as much more, or less, than input (or output) as it does where it is published.
    The tiers are the published ones, in proportion to each price; a price that is ``flat``, or that has tiers of its
    own, has no others. Rounded up.
    """

    def part(name: str) -> int | None:
        given: int | None = getattr(written, name)
        known: int | None = getattr(published, name)
        if given is not None or known is None:
            return given
        base = "output" if name == "audio_output" else "input"
        return _in_proportion(getattr(written, base), known, getattr(published, base))

    extras = {name: part(name) for name in PARTS[3:]}
    tiers = written.tiers
    if not tiers and not written.flat:
        whole = msgspec.structs.replace(written, **extras)
        tiers = tuple(_tier(whole, published, tier) for tier in published.tiers)
    return msgspec.structs.replace(written, tiers=tiers, **extras)


def _tier(written: ModelPrice, published: ModelPrice, tier: Tier) -> Tier:
    parts: dict[str, Any] = {}
    for name in PARTS:
        given, base, raised = (getattr(price, name) for price in (written, published, tier))
        said = given is not None and base is not None and raised is not None
        parts[name] = _in_proportion(given, raised, base) if said else None
    return Tier(above=tier.above, **parts)


def _in_proportion(written: int, raised: int, base: int) -> int:
    """``written`` times ``raised / base``, rounded up; a published price of nothing says no proportion."""
    return written if not base else -(-written * raised // base)
