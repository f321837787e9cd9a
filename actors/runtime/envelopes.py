"""Messages as they are handed in, read into one envelope for the manager."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.pending import LoopPending, Pending, refused
from tallystick.config.amounts import InvalidAmount
from tallystick.events import messages as c
from tallystick.events.decide.amounts import wait_ms
from tallystick.events.log.codec import Message, encode_answer, read_message
from tallystick.events.messages.replies import Refusal


def envelope_of(
    messages: Sequence[Message], by: str, reply: Pending | LoopPending, new_id: Callable[[], str]
) -> Envelope | None:
    """The well-formed commands of some messages; malformed ones are answered in ``reply``, in their place. None where
    there are none to be decided, and all is answered.
    """
    if len(messages) > c.MESSAGES_MAX:
        text = f"found {len(messages)} messages, allowed are up to {c.MESSAGES_MAX} together"
        reply.set([refused("invalid_message", text)] * len(messages))
        return None
    commands: list[c.Command] = []
    asked: list[bytes] = []
    for place, one in enumerate(messages):
        read = read_message(one, new_id)
        if isinstance(read, Refusal):
            reply.malformed = reply.malformed or {}
            reply.malformed[place] = encode_answer(read)
            continue
        command, data = read
        commands.append(command)
        asked.append(data)
        if type(command) in _WAITING:
            reply.waits_seconds = max(reply.waits_seconds, _seconds(command))
    if not commands:
        reply.set(())
        return None
    reply.envelope = Envelope(commands, asked, by, reply, in_array=reply.many)
    return reply.envelope


_WAITING: Final = frozenset({c.Reserve, c.SubmitTask, c.GetTask})
"""Messages that may ask to wait for their answers."""


def _seconds(command: Any) -> float:
    """How long a message asks to wait; 0 where it does not, and for what will be refused."""
    if command.wait_seconds is None:
        return 0.0
    try:
        return wait_ms(command.wait_seconds) / 1_000
    except InvalidAmount:
        return 0.0
