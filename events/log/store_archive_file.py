"""A file of old records: gzip, one record a line; the first line says what the file is.

``zcat`` shows it. Each block is a gzip member of its own, so that one record is found without reading the others. Of a
block, only the first and the last record have their digests, as in a row of the store (`store_segments`): digests do
not compress. Older versions wrote all of them.
"""

import hashlib
import zlib
from collections.abc import Iterable
from gzip import compress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.store_contract import Record, Row, StoreError
from tallystick.events.log.store_segments import BETWEEN, SEGMENT, pieces_of

BLOCK: Final = 1_000
"""Records in a block."""
_GZIP: Final = 31
"""To zlib: a gzip member."""


class Block(NamedTuple):
    """Where the records from ``first`` up to ``upto`` lie in the file of the archive that begins at ``archive``."""

    first: int
    upto: int
    archive: int
    offset: int
    size: int


class Archive(NamedTuple):
    """The records from ``first`` up to ``upto``; ``digest`` (hex) is that of the last one, ``sha256`` of the file."""

    first: int
    upto: int
    size: int
    sha256: str
    digest: str
    archived_at: str

    @property
    def anchor(self) -> str:
        """``POSITION:DIGEST``, as `audit verify --anchor` takes it."""
        return f"{self.upto}:{self.digest}"


def file_beside(store: Path, first: int, upto: int) -> Path:
    """The file of an archive, named after that of its store."""
    return store.with_name(f"{store.name}.archive-{first}-{upto}.jsonl.gz")


class Writing:
    """Writes an archive into an open file, block by block."""

    def __init__(self, file: BinaryIO, archive: int, title: bytes) -> None:
        self._file, self._archive = file, archive
        self._hash = hashlib.sha256()
        self.size = 0
        self.blocks: list[Block] = []
        self._put(title + b"\n")

    @property
    def sha256(self) -> str:
        """Of all that was written, in hex."""
        return self._hash.hexdigest()

    def write(self, records: Iterable[Record]) -> None:
        """All records, in order."""
        left = iter(records)
        while block := list(islice(left, BLOCK)):
            offset = self.size
            self._put(b"".join(piece + b"\n" for piece in pieces_of(block)))
            first, upto = block[0].position, block[-1].position
            self.blocks.append(Block(first, upto, self._archive, offset, self.size - offset))

    def _put(self, text: bytes) -> None:
        member = compress(text, mtime=0)
        self._file.write(member)
        self._hash.update(member)
        self.size += len(member)


def read_block(file: Path, block: Block) -> Row:
    """A block as a row of the store: nothing of its records is proved.

    Raises:
        StoreError: the file is not there, or cannot be read.
        BrokenChain: the block is damaged.
    """
    try:
        with file.open("rb") as stream:
            stream.seek(block.offset)
            member = stream.read(block.size)
    except FileNotFoundError:
        raise StoreError(f"the archive {file} is not there: put it back beside the store") from None
    except OSError as error:
        raise StoreError(f"the archive {file} could not be read: {error.strerror}") from error
    try:
        text = zlib.decompress(member, _GZIP)
    except zlib.error as error:
        raise BrokenChain(block.first, f"the archive {file} is damaged: {error}") from error
    return Row(block.upto, SEGMENT, b"[" + text[:-1].replace(b"\n", BETWEEN) + b"]")
