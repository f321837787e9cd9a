"""Which shard hosts a fleet: rendezvous hashing of its name, so that another number of shards moves few fleets."""

import functools
import hashlib
from typing import Final

NAMESPACE: Final = "tallystick"
"""The namespace of our actors in a Ray cluster."""
KEEPER: Final = "keeper"
SHARDS_MAX: Final = 10_000
_KEPT: Final = 65_536


def shard_name(number: int) -> str:
    """The name of a shard's actor."""
    return f"shard-{number}"


def front_name(node: str) -> str:
    """The name of the front's actor on a node."""
    return f"front-{node}"


@functools.lru_cache(_KEPT)
def shard_of(fleet: str, shards: int) -> int:
    """The number of the shard, below ``shards``, that hosts a fleet.

    The highest of the hashes of name and number wins (Thaler and Ravishankar, 1998): one shard more takes its fleets
    evenly from all others, and no other fleet moves.
    """
    name = fleet.encode()
    return max(range(shards), key=lambda number: (_weight(name, number), number))


def _weight(name: bytes, number: int) -> bytes:
    return hashlib.blake2b(name, digest_size=8, key=number.to_bytes(4, "big")).digest()
