"""Messages on their way to a server: read as a fleet in this process reads them, so that each has its id before it is
sent for the first time.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tallystick.events.log.codec import Message, decode_answer, decode_command, encode_answer, read_message
from tallystick.events.messages.command import MESSAGES_MAX, Command
from tallystick.events.messages.replies import Refusal
from tallystick.interface.steps import waits_seconds


class Outgoing:
    """One message, or a list: what is sent of it, and what was answered before, in its place.

    ``waits_seconds`` is how long the messages themselves ask to wait for their answers.
    """

    def __init__(self, message: Message | Sequence[Message], new_id: Callable[[], str]) -> None:
        self.many = isinstance(message, list | tuple)
        self.waits_seconds = 0.0
        self._sent: list[bytes] = []
        self._answered: dict[int, Any] = {}
        messages: Sequence[Any] = message if self.many else (message,)  # type: ignore[assignment]
        if len(messages) > MESSAGES_MAX:
            text = f"found {len(messages)} messages, allowed are up to {MESSAGES_MAX} together"
            refused = _as_answer(Refusal("invalid_message", text))
            self._answered = dict.fromkeys(range(len(messages)), refused)
            return
        for place, one in enumerate(messages):
            read = read_message(one, new_id)
            if not isinstance(read, Refusal) and not _says_all(*read):
                read = Refusal("invalid_message", "found a number that is none or infinite: allowed are finite numbers")
            if isinstance(read, Refusal):
                self._answered[place] = _as_answer(read)
            else:
                self._sent.append(read[1])
                self.waits_seconds = max(self.waits_seconds, waits_seconds(read[0]))

    @property
    def count(self) -> int:
        """How many messages are sent."""
        return len(self._sent)

    @property
    def body(self) -> bytes:
        """What is sent: a message, or an array."""
        return b"[%b]" % b",".join(self._sent) if self.many else self._sent[0]

    def in_order(self, answers: Sequence[Any]) -> Any:
        """The answers in the places of their messages; ``answers`` are those to what was sent."""
        rest = iter(answers)
        places = range(len(self._sent) + len(self._answered))
        ordered = [self._answered[place] if place in self._answered else next(rest) for place in places]
        return ordered if self.many else ordered[0]


def _says_all(command: Command, data: bytes) -> bool:
    """Whether the text of a message says what the message does: JSON has only null for a NaN or an infinity."""
    try:
        return b"null" not in data or decode_command(data) == command
    except ArithmeticError:
        return False


def _as_answer(refusal: Refusal) -> dict[str, Any]:
    return decode_answer(encode_answer(refusal))
