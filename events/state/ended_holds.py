"""The memory of holds that have ended, in the order of their ends.

There may be millions of them, and as objects each would take 500 bytes and more. So all but the newest are packed,
`PAGE` at a time, and found by two ways: an index of their ids (`KeyIndex`), and from each to the one of its agent that
ended before it. What is forgotten goes a block at a time. A snapshot has all of them as one list.
"""

from array import array
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, takewhile
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.events.state.key_index import KeyIndex
from tallystick.events.state.remembered import EndedHold, EndedName

PAGE: Final = 16
"""So many are packed together: to read one takes some microseconds."""
BLOCK: Final = 256
"""So many are packed at one time, and forgotten together."""
_FAR: Final = 2**32

_Name = EndedName | EndedHold


class _Form(NamedTuple):
    """How pages are read."""

    rows: Any
    names: Any
    each: Any
    row: Any


def _form(decoder: Any) -> _Form:
    return _Form(*[decoder(kind).decode for kind in (list[EndedHold], list[EndedName], list[msgspec.Raw], EndedHold)])


_PACKED, _TEXT = _form(msgspec.msgpack.Decoder), _form(msgspec.json.Decoder)
_packed, _text = msgspec.msgpack.Encoder().encode, msgspec.json.Encoder().encode


class _Block:
    """`BLOCK` holds in pages. ``last`` is where the last of them ended; ``open`` are not settled."""

    __slots__ = ("before", "last", "open", "pages")

    def __init__(self, rows: Sequence[EndedHold], before: "array[int]") -> None:
        self.pages = [_page(rows[start : start + PAGE]) for start in range(0, len(rows), PAGE)]
        self.before = before
        """How many rows before each the one of its agent before it stands; 0 where there is none."""
        self.last = rows[-1].position
        self.open = sum([row.how != "settled" for row in rows])

    def rows(self, first: int) -> Iterator[EndedHold]:
        """Those from a place on."""
        for page in self.pages[first // PAGE :]:
            yield from _of(page).rows(page)[first % PAGE :]
            first = 0


class EndedHolds(Mapping[str, EndedHold]):
    """Id to what is remembered. What is added has ended behind all that is there."""

    def __init__(self) -> None:
        self._late: dict[str, EndedHold] = {}
        """Those that would be forgotten by now if they were settled: the newest may still be."""
        self._blocks: deque[_Block] = deque()
        self._first, self._skipped = 0, 0
        """The number of the first block's first row, and how many of that block are forgotten."""
        self._fresh: dict[str, EndedHold] = {}
        """The newest, which are fewer than a block."""
        self._index = KeyIndex()
        self._newest: dict[str, int] = {}
        self._older: dict[str, int] = {}
        """By agent, the number of its last row, if that is packed. A row that is gone is named until all of those that
        were older at one time are gone.
        """
        self._newer_from = 0
        """From this row on, those that are in `_newest`."""

    @classmethod
    def load(cls, late: bytes | msgspec.Raw, rows: bytes | msgspec.Raw) -> "EndedHolds":
        """What `dump` has written.

        Raises:
            msgspec.DecodeError: it is something else.
        """
        loaded = cls()
        loaded._late = {row.id: row for row in _TEXT.rows(late)}
        loaded.add_all(map(_TEXT.row, _TEXT.each(rows)))
        return loaded

    def dump(self) -> tuple[bytes, bytes]:
        """Those that would be forgotten if they were settled, and the others, as two JSON arrays; the same for the same
        memory.
        """
        skipped, parts = self._skipped, list[bytes]()
        for block in self._blocks:
            parts.append(_text(list(block.rows(skipped)))[1:-1])
            skipped = 0
        if self._fresh:
            parts.append(_text(list(self._fresh.values()))[1:-1])
        return _text(list(self._late.values())), b"[" + b",".join(parts) + b"]"

    # --- looking up ---------------------------------------------------------------------------------------------------

    def get(self, id: str, default: Any = None) -> Any:
        """What is remembered of a hold."""
        row = self._fresh.get(id) or self._late.get(id)
        if row is None and self._blocks:
            found = self._find(id)
            row = None if found is None else found[2]
        return default if row is None else row

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self.get(id) is not None

    def __getitem__(self, id: str) -> EndedHold:
        row: EndedHold | None = self.get(id)
        if row is None:
            raise KeyError(id)
        return row

    def __len__(self) -> int:
        return len(self._late) + len(self._blocks) * BLOCK - self._skipped + len(self._fresh)

    def __iter__(self) -> Iterator[str]:
        return (name.id for name in self.names())

    def among(self, ids: Sequence[str]) -> Collection[str]:
        """Those of some ids that are there: nearly always none."""
        if self._index.may_have_one_of(ids) or not (
            self._fresh.keys().isdisjoint(ids) and self._late.keys().isdisjoint(ids)
        ):
            return {id for id in ids if id in self}
        return ()

    def names(self) -> Iterator[_Name]:
        """All of them, those first that would be forgotten if they were settled."""
        packed = chain.from_iterable(_of(page).names(page) for block in self._blocks for page in block.pages)
        return chain(self._late.values(), islice(packed, self._skipped, None), self._fresh.values())

    def of(self, agent: str) -> Iterator[_Name]:
        """Those of an agent."""
        for some in (self._late, self._fresh):
            yield from (row for row in some.values() if row.agent == agent)
        floor, before, names = self._first + self._skipped, -1, list[EndedName]()
        number, distance = self._newest.get(agent, self._older.get(agent, -1)), 1
        while number >= floor and distance:
            block, place = self._place(number)
            if number // PAGE != before:
                before, page = number // PAGE, block.pages[place // PAGE]
                names = _of(page).names(page)
            yield names[place % PAGE]
            distance = block.before[place]
            number -= distance

    def _place(self, number: int) -> tuple[_Block, int]:
        block, place = divmod(number - self._first, BLOCK)
        return self._blocks[block], place

    def _find(self, id: str) -> tuple[_Block, int, EndedHold] | None:
        """A packed hold, and where it is."""
        floor, end = self._first + self._skipped, self._first + len(self._blocks) * BLOCK
        for number in self._index.find(id, floor):
            if number < end:
                block, place = self._place(number)
                page = block.pages[place // PAGE]
                form = _of(page)
                row = form.row(form.each(page)[place % PAGE])
                if row.id == id:
                    return block, place, row
        return None

    # --- adding, changing and forgetting ------------------------------------------------------------------------------

    def add_all(self, rows: Iterable[EndedHold]) -> None:
        """Holds have ended, in this order."""
        fresh = self._fresh
        for row in rows:
            fresh[row.id] = row
            if len(fresh) == BLOCK:
                self._pack()
                fresh = self._fresh

    def change(self, row: EndedHold) -> None:
        """Something else is remembered of a hold that is there."""
        for some in (self._fresh, self._late):
            if row.id in some:
                some[row.id] = row
                return
        found = self._find(row.id)
        assert found is not None
        block, place, was = found
        page = block.pages[place // PAGE]
        rows = _of(page).rows(page)
        rows[place % PAGE] = row
        block.pages[place // PAGE] = _page(rows)
        block.open += (row.how != "settled") - (was.how != "settled")

    def forget_before(self, position: int, late: int) -> None:
        """Forget those that ended before a position, but of those that are not settled the newest ``late``."""
        gone = list(takewhile(lambda block: block.last < position, self._blocks))
        newer = sum([block.open for block in gone])
        for block in gone:
            newer -= block.open
            if block.open and newer < late:
                self._keep(block.rows(self._skipped))
            self._blocks.popleft()
            self._first, self._skipped = self._first + BLOCK, 0
        if self._blocks:
            rows = list(takewhile(lambda row: row.position < position, self._blocks[0].rows(self._skipped)))
            self._skipped += len(rows)
            self._keep(rows)
        else:
            rows = list(takewhile(lambda row: row.position < position, self._fresh.values()))
            for row in rows:
                del self._fresh[row.id]
            self._keep(rows)
        for id in list(islice(self._late, max(0, len(self._late) - late))):
            del self._late[id]
        if self._first >= self._newer_from:
            self._older, self._newest = self._newest, {}
            self._newer_from = self._first + len(self._blocks) * BLOCK

    def _keep(self, rows: Iterable[EndedHold]) -> None:
        """Keep those that are not settled for late settlements."""
        self._late |= {row.id: row for row in rows if row.how != "settled"}

    def _pack(self) -> None:
        rows, first = list(self._fresh.values()), self._first + len(self._blocks) * BLOCK
        before, newest, older = list[int](), self._newest, self._older
        for number, row in enumerate(rows, first):
            agent = row.agent
            last = newest.get(agent)
            if last is None:
                last = older.get(agent, number)
            newest[agent] = number
            before.append(number - last)
        if max(before) >= _FAR:  # what is so far away is long gone
            before = [distance if distance < _FAR else 0 for distance in before]
        self._index.enter(list(self._fresh), first, self._first + self._skipped)
        self._blocks.append(_Block(rows, array("I", before)))
        self._fresh = {}


def _page(rows: Sequence[EndedHold]) -> bytes:
    try:
        return _packed(rows)
    except OverflowError:
        return _text(rows)  # a sum of parts is beyond what packed numbers may be


def _of(page: bytes) -> _Form:
    """How a page is read: JSON begins with a bracket, which nothing packed does."""
    return _TEXT if page[:1] == b"[" else _PACKED
