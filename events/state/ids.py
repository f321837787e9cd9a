"""The memory of ids: which command ids were used, and the position of the first event of each, the oldest first.

There may be a million of them, and as strings in a dict each would take 140 bytes and more. So they are packed, `PAGE`
at a time, in the form that a snapshot has. The index of what is packed has 8 bytes for each id: a part of its hash, and
the number of its page. That says only where an id may be; what stands in the page decides.
"""

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from struct import Struct
from sys import byteorder
from typing import Final, NamedTuple

import msgspec

PAGE: Final = 256
"""So many ids are packed together: to look into a page takes some 10 µs."""
_BUCKETS: Final = 2**14
_ENTRY: Final = 8
"""Bytes in the index for an id: four of its hash, four of its page's number."""
_parts: Final = Struct("2x4s2x").iter_unpack
"""Of hashes of eight bytes each, what `_part` takes of one."""

_encode = msgspec.json.Encoder().encode
_texts = msgspec.json.Decoder(list[str]).decode
_numbers = msgspec.json.Decoder(list[int]).decode


class _Page(NamedTuple):
    """`PAGE` ids and their positions, both as JSON arrays."""

    ids: bytes
    positions: bytes


_Entries = tuple[list[bytearray], list[bytes]]
"""Buckets of the index, and parts of hashes that stand in them, or will."""


class Ids(Mapping[str, int]):
    """Id to position. What is added has a higher position than all before it."""

    def __init__(self) -> None:
        self._count = 0
        self._fresh: dict[str, int] = {}
        """The newest, which are fewer than a page."""
        self._pages: deque[_Page] = deque()
        self._dropped, self._skipped = 0, 0
        """How many pages are forgotten, and of the first that is there how many ids."""
        self._buckets: list[bytearray] = []
        """The index: by a part of the hash, the entries in the order in which they came. The newest have theirs, too,
        with the page that they will be in; where nothing is packed, there is none.
        """
        self._missed: str | None = None
        """What was looked for last and is not packed: the same id is asked for several times before it is added."""

    @classmethod
    def load(cls, ids: bytes | msgspec.Raw, positions: bytes | msgspec.Raw) -> "Ids":
        """What `dump` has written.

        Raises:
            msgspec.DecodeError: it is something else.
        """
        loaded, texts, numbers = cls(), _texts(ids), _numbers(positions)
        if len(texts) != len(numbers):
            raise msgspec.ValidationError(f"found {len(texts)} ids and {len(numbers)} positions")
        whole = len(texts) // PAGE * PAGE
        for start in range(0, whole, PAGE):
            if start:
                loaded._index(texts[start : start + PAGE])
            loaded._pack(texts[start : start + PAGE], numbers[start : start + PAGE])
        loaded._fresh = dict(zip(texts[whole:], numbers[whole:], strict=True))
        if loaded._pages:
            loaded._index(loaded._fresh)
        loaded._count = len(texts)
        return loaded

    def dump(self) -> tuple[bytes, bytes]:
        """The ids and their positions as two JSON arrays, the oldest first; the same for the same memory."""
        pages = list(self._pages)
        if self._skipped:
            first = pages[0]
            pages[0] = _page(_texts(first.ids)[self._skipped :], _numbers(first.positions)[self._skipped :])
        if self._fresh:
            pages.append(_page(list(self._fresh), list(self._fresh.values())))
        return _joined([page.ids for page in pages]), _joined([page.positions for page in pages])

    # --- looking up ---------------------------------------------------------------------------------------------------

    def get(self, id: str, default: int | None = None) -> int | None:  # type: ignore[override] # only positions are in it
        """The position of the first event of an id."""
        position = self._fresh.get(id)
        if position is not None:
            return position
        if not self._pages or id == self._missed:
            return default
        # Nearly all that are asked for are new: their part of the hash is not even in their bucket.
        hashed = hash(id)
        if self._buckets[hashed & _BUCKETS - 1].find(_part(hashed)) < 0:
            self._missed = id
            return default
        position = self._find(id)
        return default if position is None else position

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self.get(id) is not None

    def __getitem__(self, id: str) -> int:
        position = self.get(id)
        if position is None:
            raise KeyError(id)
        return position

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        skipped = self._skipped
        for page in list(self._pages):
            yield from _texts(page.ids)[skipped:]
            skipped = 0
        yield from list(self._fresh)

    def _find(self, id: str) -> int | None:
        """The position of an id that is packed and not forgotten."""
        hashed = hash(id)
        bucket, part = self._buckets[hashed & _BUCKETS - 1], _part(hashed)
        at = bucket.find(part)
        while at >= 0:
            number = int.from_bytes(bucket[at + 4 : at + _ENTRY], "big") - self._dropped
            if at % _ENTRY == 0 and 0 <= number < len(self._pages):
                page = self._pages[number]
                texts = _texts(page.ids)
                place = texts.index(id) if id in texts else -1
                if place >= (0 if number else self._skipped):
                    return _numbers(page.positions)[place]
            at = bucket.find(part, at + 1)
        self._missed = id
        return None

    # --- adding and forgetting ----------------------------------------------------------------------------------------

    def add(self, id: str, position: int) -> None:
        """Remember an id, unless it is."""
        if id in self._fresh or (self._pages and id != self._missed and self._find(id) is not None):
            return
        self._count += 1
        self._fresh[id] = position
        if self._pages:
            self._index((id,))
        if len(self._fresh) == PAGE:
            self._pack(list(self._fresh), list(self._fresh.values()))
            self._fresh, self._missed = {}, None

    def are_new(self, ids: Sequence[str]) -> bool:
        """Whether ids differ, and surely none of them is remembered."""
        return self._are_new(ids, self._entries(ids))

    def add_all(self, ids: Sequence[str], positions: Sequence[int], most: int, *, new: bool = False) -> None:
        """Remember ids, in their order, as `add` and then `keep` do for each. ``new``: they are known to differ, and
        none of them is remembered.
        """
        place = 0
        while place < len(ids):
            behind = place + PAGE - len(self._fresh)
            some, theirs = ids[place:behind], positions[place:behind]
            entries = self._entries(some)
            if new or self._are_new(some, entries):
                self._add_new(some, theirs, entries)
            else:
                # Some may be there, and may have to be forgotten first.
                for id, position in zip(some, theirs, strict=True):
                    self.add(id, position)
                    self.keep(most)
            self.keep(most)
            place = behind

    def _entries(self, ids: Sequence[str]) -> "_Entries":
        """Where in the index ids have their places, and what stands there; nothing where there is no index."""
        if not self._pages:
            return [], []
        hashes, every, mask = list(map(hash, ids)), self._buckets, _BUCKETS - 1
        return [every[hashed & mask] for hashed in hashes], [part for (part,) in _parts(array("q", hashes))]

    def _are_new(self, ids: Sequence[str], entries: "_Entries") -> bool:
        buckets, parts = entries
        return (
            len(set(ids)) == len(ids)
            and self._fresh.keys().isdisjoint(ids)
            and max(map(bytearray.find, buckets, parts), default=-1) < 0
        )

    def _add_new(self, ids: Sequence[str], positions: Sequence[int], entries: "_Entries") -> None:
        """Remember new ids that go into the page at hand."""
        buckets, parts = entries
        page = self._next_page()
        for bucket, part in zip(buckets, parts, strict=True):
            bucket.extend(part + page)
        if self._dropped:
            for bucket in buckets:
                self._tidy(bucket)
        fresh = self._fresh
        fresh.update(zip(ids, positions, strict=True))
        self._count += len(ids)
        if len(fresh) == PAGE:
            self._pack(list(fresh), list(fresh.values()))
            self._fresh, self._missed = {}, None

    def keep(self, most: int) -> None:
        """Forget the oldest beyond so many."""
        if self._count > most:
            self._forget(self._count - most)

    def forget_before(self, position: int) -> None:
        """Forget those that were first used before a position."""
        older = -self._skipped
        for numbers in chain((_numbers(page.positions) for page in self._pages), [list(self._fresh.values())]):
            of_these = bisect_left(numbers, position)
            older += of_these
            if of_these < len(numbers):
                break
        self._forget(max(0, older))

    def _forget(self, count: int) -> None:
        self._count -= count
        self._skipped += count
        while self._pages and self._skipped >= PAGE:
            self._pages.popleft()
            self._dropped += 1
            self._skipped -= PAGE
        if not self._pages:
            self._buckets = []
            for id in list(islice(self._fresh, self._skipped)):
                del self._fresh[id]
            self._skipped = 0

    def _pack(self, ids: Sequence[str], positions: Sequence[int]) -> None:
        if not self._pages:
            self._buckets = [bytearray() for _ in range(_BUCKETS)]
            self._index(ids)
        self._pages.append(_page(ids, positions))

    def _index(self, ids: Iterable[str]) -> None:
        """Enter ids of the page that comes next."""
        buckets, page = self._buckets, self._next_page()
        for id in ids:
            hashed = hash(id)
            bucket = buckets[hashed & _BUCKETS - 1]
            if self._dropped:
                self._tidy(bucket)
            bucket += _part(hashed) + page

    def _tidy(self, bucket: bytearray) -> None:
        """What is forgotten stands first."""
        first = self._dropped.to_bytes(4, "big")
        while bucket and bucket[4:_ENTRY] < first:
            del bucket[:_ENTRY]

    def _next_page(self) -> bytes:
        return (self._dropped + len(self._pages)).to_bytes(4, "big")


def _part(hashed: int) -> bytes:
    """What of a hash is kept in the index; other bits of it say in which bucket."""
    return hashed.to_bytes(8, byteorder, signed=True)[2:6]


def _page(ids: Sequence[str], positions: Sequence[int]) -> _Page:
    return _Page(_encode(ids), _encode(positions))


def _joined(arrays: Sequence[bytes]) -> bytes:
    """JSON arrays, none of which is empty, as one."""
    return b"[" + b",".join([each[1:-1] for each in arrays]) + b"]"
