"""Writes into pages what is answered now, where it is not what they say: ``python -m tests.support.refill PAGE...``.

Answers that still fit are left as they are, with their ``...``. Read the difference before a commit: a page that was
refilled says what happens, not what should.
"""

import sys
import tempfile
from pathlib import Path

from tests.support.pages import BY_HAND, Block, as_said, fences, run_console, run_python, typed


def refill(page: Path) -> bool:
    """Bring the answers of a page up to date; whether there was something to change."""
    text = page.read_text(encoding="utf-8")
    parts, after, printed = [], 0, ""
    with tempfile.TemporaryDirectory() as folder:
        for found in fences(text):
            block = Block(found[1], found[2], 0)
            new = block.text
            if block.language == "python":
                printed = run_python(block.text, Path(folder))
            elif block.language == "output" and not as_said(block.text, printed):
                new = _ended(printed)
            elif block.language == "console":
                new = _answered(block, Path(folder))
            parts += [text[after : found.start(2)], new]
            after = found.end(2)
    refilled = "".join((*parts, text[after:]))
    if refilled != text:
        page.write_text(refilled, encoding="utf-8")
    return refilled != text


def _answered(block: Block, folder: Path) -> str:
    """A ``console`` block with the answers of now where those of the page no longer fit."""
    commands = list(typed(block))
    answers = iter(run_console([one for one in commands if not BY_HAND.match(one.command)], folder))
    lines = []
    for one in commands:
        first, *others = one.command.split("\n")
        lines += [f"$ {first}", *(f"> {line}".rstrip() for line in others)]
        answer = one.answer
        if not BY_HAND.match(one.command):
            now = next(answers)
            answer = answer if as_said(answer, now) else _ended(now)
        lines += [line.rstrip() for line in answer.splitlines()]
    return "\n".join(lines) + "\n"


def _ended(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.rstrip().splitlines())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        if refill(Path(name)):
            sys.stdout.write(f"{name}\n")
