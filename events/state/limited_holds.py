"""What limits count of a hold, and of what is said of its use."""

import msgspec


class Part(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What limits have counted of a hold's settlement at ``position``: ``input`` and ``requests`` since the hold was
    placed, and ``asked`` requests in all, for these labels.
    """

    position: int
    input: int
    requests: int
    asked: int
    labels: dict[str, str] | None


class Limited(msgspec.Struct, array_like=True):
    """What of a hold limits count: in which counters (see `state.limits.Place`), and what of it counts as used since it
    was placed. ``split``: its input tokens are known, of which ``input`` are not settled yet, like ``requests``;
    ``output`` are the tokens that are held beside them. ``parts``: what its settlements have counted.
    """

    places: tuple[tuple[str, int, str], ...]
    model: str | None
    is_request: bool
    split: bool
    requests: int
    input: int
    output: int
    parts: tuple[Part, ...] = ()
