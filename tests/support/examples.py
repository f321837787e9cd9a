"""How many examples a slow property draws: a third in ``make test``, all of them in ``make thorough``."""

import os

THOROUGH = os.environ.get("THOROUGH") == "1"


def examples(number: int) -> int:
    """``number`` in a thorough run, else a third of it."""
    return number if THOROUGH else -(-number // 3)
