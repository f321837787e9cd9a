"""Names that the records in rows of a log begin with, for completion."""

import json
from collections.abc import Iterable, Iterator

from tallystick.events.log.store_segments import texts_in


def names_in(rows: Iterable[tuple[str, bytes]], begins: str, field: str) -> Iterator[str]:
    """What events whose stored names begin so have in a field, out of the topics and the bytes of rows."""
    head = f'{{"type":"{begins}'.encode()
    for topic, state in rows:
        for text in texts_in(topic, bytes(state)):
            if text.startswith(head) and isinstance(name := json.loads(text).get(field), str):
                yield name
