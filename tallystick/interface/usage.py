"""What a provider's reply says that it used: from a whole reply, its usage object, or the parts of a stream.

Providers' libraries are not imported: names of attributes and keys say it all. What the names mean, and how cached
tokens count, is decided where reports are read (`events/messages/provider_usage.py`).
"""

from collections.abc import Mapping
from typing import Any, Final

from tallystick.events.messages.provider_usage import NONE, counted, stripped

_AROUND: Final = ("message", "metadata")
"""What may be around a usage object in an event of a stream, beside what is around it in a whole reply."""
_NAMES_MAX: Final = 12


class UsageNotUnderstood(ValueError):
    """No usage was found in what a call was finished with; the text says what was found."""


class UsageSoFar:
    """What the parts of a stream say, in order: all providers count from the beginning, so later numbers replace."""

    def __init__(self) -> None:
        self.usage: dict[str, Any] = {}

    def add(self, part: Any) -> None:
        """Look at one part; most say nothing."""
        found = _found(part)
        if found is not None:
            self.usage.update(found)


def usage_of(reply: Any) -> dict[str, Any]:
    """The counts in a reply, a usage object, or a list of the parts of a stream, as a message may carry them.

    Raises:
        UsageNotUnderstood: there are none.
    """
    if isinstance(reply, list | tuple):
        so_far = UsageSoFar()
        for part in reply:
            so_far.add(part)
        found: dict[str, Any] | None = so_far.usage or None
    else:
        found = _found(reply)
    if found is None:
        raise UsageNotUnderstood(
            f"found {described(reply)}, and no usage in it: allowed are a reply of a provider, its usage object"
            " (with names as input_tokens, prompt_tokens or promptTokenCount), or the parts of a stream. A stream of"
            " OpenAI's chat names its usage only with stream_options={'include_usage': True}"
        )
    return found


def _found(given: Any) -> dict[str, Any] | None:
    for one in (given, *(_at(given, name) for name in _AROUND)):
        found = stripped(one)
        if found is not None and counted(found) != NONE:
            return found
    return None


def _at(given: Any, name: str) -> Any:
    try:
        return given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)
    except Exception:  # noqa: BLE001 - an object of another library may do anything when it is asked
        return None


def described(given: Any) -> str:
    """What something is, by the names in it and never by its values: they may be prompts."""
    if given is None:
        return "None"
    if isinstance(given, Mapping):
        return f"a mapping with {_listed(given, 'no keys')}"
    if isinstance(given, list | tuple):
        kinds = dict.fromkeys(type(part).__name__ for part in given)
        return f"a {type(given).__name__} of {len(given)} ({_listed(kinds, 'nothing')})"
    return f"a {type(given).__name__} with {_listed(getattr(given, '__dict__', {}), 'no attributes')}"


def _listed(given: Any, none: str) -> str:
    names = [str(name) for name in given if not str(name).startswith("_")]
    more = ", …" if len(names) > _NAMES_MAX else ""
    return ", ".join(names[:_NAMES_MAX]) + more if names else none
