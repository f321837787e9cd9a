"""An index of packed memory: for a key, the numbers of the rows that it may be in.

It has eight bytes for each row: a part of the key's hash, and the row's number. The part says only where a key may be;
what stands in the row decides. Buckets split one at a time as rows are entered, so that a small index is small, and a
large one never takes long to grow.
"""

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import chain
from struct import Struct
from sys import byteorder
from typing import Final

FULL: Final = 32
"""So many entries a bucket has on average, at most."""
_TIDIED: Final = 16
"""So many buckets are rid of rows that are gone, whenever rows are entered."""
_ENTRY: Final = 8
_LOW: Final = 2**32 - 1
"""What of a hash and of a number is kept."""
_entries: Final = Struct("8s").iter_unpack
_parts: Final = Struct("4s").iter_unpack


class KeyIndex:
    """Rows have numbers, each one more than the last; those below a floor are gone."""

    def __init__(self) -> None:
        self._buckets = [bytearray()]
        """By the last bits of the hash, the entries in the order of their rows."""
        self._low = 1
        """How many buckets there were when all were last split; those behind are the other halves of the first ones."""
        self._count, self._tidied = 0, 0
        """How many entries there are, and which bucket is tidied next."""

    def enter(self, keys: Sequence[str], first: int, floor: int) -> None:
        """Rows with these keys are there, the first with this number; those below ``floor`` are gone."""
        hashes, buckets = self._places(keys)
        entries = array("I", bytes(_ENTRY * len(keys)))
        entries[::2] = hashes
        entries[1::2] = array("I", map(_LOW.__and__, range(first, first + len(keys))))
        deque(map(bytearray.extend, buckets, chain.from_iterable(_entries(entries))), maxlen=0)
        self._count += len(keys)
        for _ in range(min(_TIDIED, len(self._buckets))):
            self._tidy(floor)
        while self._count > FULL * len(self._buckets):
            self._split()

    def find(self, key: str, floor: int) -> list[int]:
        """The numbers that the rows of a key may have; of those that are not gone, the oldest first."""
        hashed = hash(key) & _LOW
        place = hashed & (2 * self._low - 1)
        if place >= len(self._buckets):
            place -= self._low
        bucket, part, found = self._buckets[place], hashed.to_bytes(4, byteorder), list[int]()
        at = bucket.find(part)
        while at >= 0:
            if at % _ENTRY == 0:
                found.append(floor + self._age(bucket, at // _ENTRY, floor))
            at = bucket.find(part, at + 1)
        return found

    def may_have_one_of(self, keys: Sequence[str]) -> bool:
        """Whether there may be a row of one of some keys."""
        hashes, buckets = self._places(keys)
        return max(map(bytearray.find, buckets, chain.from_iterable(_parts(hashes))), default=-1) >= 0

    def _places(self, keys: Sequence[str]) -> tuple["array[int]", list[bytearray]]:
        """What is kept of the keys' hashes, and their buckets."""
        hashes = list(map(_LOW.__and__, map(hash, keys)))
        every, count, low = self._buckets, len(self._buckets), self._low
        mask = 2 * low - 1
        buckets = [every[place if (place := hashed & mask) < count else place - low] for hashed in hashes]
        return array("I", hashes), buckets

    @staticmethod
    def _age(bucket: bytearray, place: int, floor: int) -> int:
        """How far above the floor the row of an entry is; a number beyond all rows where it is gone."""
        at = place * _ENTRY + 4
        return (int.from_bytes(bucket[at : at + 4], byteorder) - floor) & _LOW

    def _tidy(self, floor: int) -> None:
        """What is gone stands first."""
        self._tidied = (self._tidied + 1) % len(self._buckets)
        bucket = self._buckets[self._tidied]
        gone = bisect_left(
            range(len(bucket) // _ENTRY), 1, key=lambda place: self._age(bucket, place, floor) <= _LOW // 2
        )
        del bucket[: gone * _ENTRY]
        self._count -= gone

    def _split(self) -> None:
        """One bucket hands half of its entries to a new one."""
        bucket, bit = self._buckets[len(self._buckets) - self._low], self._low
        entries = list(zip(chain.from_iterable(_entries(bucket)), array("I", bytes(bucket))[::2], strict=True))
        bucket[:] = b"".join([entry for entry, hashed in entries if not hashed & bit])
        self._buckets.append(bytearray().join([entry for entry, hashed in entries if hashed & bit]))
        if len(self._buckets) == 2 * self._low:
            self._low *= 2
