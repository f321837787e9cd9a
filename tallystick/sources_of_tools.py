"""Under which ``source_id`` a call of a tool is recorded, whichever way it arrives: as telemetry, by an adapter, or in
a file. Whatever reports such a call names it here, so that it counts once.

Ids that a provider gives (``req_…``, ``msg_…``, ``chatcmpl-…``, ``resp_…``, ``gen-…``) are unique and stand as they
are. What has no id of its own is named after the tool, with what tells its calls apart.
"""

import hashlib
from typing import Final

from tallystick.config.kinds import NAME_MAX
from tallystick.config.spelling import misspelled

_DIGITS: Final = 32


def source_named(*parts: str | int) -> str:
    """A source of these parts, like ``codex/0199a213/17``. One that is too long for a name, or has what no name has, is
    the first part with a digest of all of them.
    """
    text = "/".join(str(part) for part in parts)
    if 0 < len(text) <= NAME_MAX and misspelled(text) is None:
        return text
    return f"{str(parts[0])[:32]}/{digest_of(*parts)}" if len(parts) > 1 else digest_of(*parts)


def digest_of(*parts: str | int | None) -> str:
    """32 hexadecimal digits that are others where one of the parts is another; None is like an empty text."""
    text = "\0".join("" if part is None else str(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:_DIGITS]


def provider_id(id: str) -> str:
    """The source of a call that has an id of its provider, or of a gateway: that id."""
    return source_named(id)


def claude_code(request_id: str | None, message_id: str | None = None) -> str | None:
    """The source of a call of Claude Code, or of its SDK: the id of the request, which its telemetry has
    (``request_id``) and its files have (``requestId``); where there is none, as behind some gateways, that of the
    message, which only files have. None where there is neither.
    """
    id = request_id or message_id
    return None if not id else provider_id(id)


def codex(session: str, counts: tuple[int, int, int, int], nth: int = 1) -> str:
    """The source of a response in a session of Codex (``conversation.id``, in files the ``id`` of the first
    ``session_meta``).

    Neither its telemetry nor its files have an id of the response; both have its ``counts`` of all input, cached input,
    all output and reasoning tokens. ``nth`` tells apart responses of one session with the same counts, where the order
    is known: files know it, telemetry always says 1.
    """
    said = ".".join(map(str, counts))
    return source_named("codex", session, said) if nth == 1 else source_named("codex", session, said, nth)


def gemini_cli(session: str, prompt_id: str, counts: tuple[int, int, int]) -> str:
    """The source of a response of Gemini CLI: ``session.id``, ``prompt_id``, and the counts of input, output and
    thought tokens, as one prompt has several responses.
    """
    return source_named("gemini-cli", session, prompt_id, ".".join(map(str, counts)))
