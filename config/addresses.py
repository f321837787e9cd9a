"""Where notifications go: addresses of the library apprise, in which ``${TALLYSTICK_NAME}`` stands for a variable.

The configuration is kept whole in the log, so a secret has no place in an address: it is put into a variable of the
environment, which is read only when a notification is sent. Only variables whose names begin with ``TALLYSTICK_`` are
read: who writes an address must not be able to have the other secrets of the machine sent there.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
PREFIX: Final = "TALLYSTICK_"
_WEB: Final = re.compile(r"(?:json|form|xml)s?://[^@?]*", re.IGNORECASE)
"""A web hook without user, password or parameters: nothing in it need be secret."""


def mark(address: str) -> str:
    """What the log calls an address, so that it need not repeat it: the first 12 digits of its SHA-256, as written."""
    return hashlib.sha256(address.encode()).hexdigest()[:12]


def variables(address: str) -> list[str]:
    """The names of the variables in an address."""
    return _VARIABLE.findall(address)


def foreign(address: str) -> list[str]:
    """The variables in an address that are not read, because their names say that they are not ours."""
    return [name for name in variables(address) if not name.startswith(PREFIX)]


def resolved(address: str, environ: Mapping[str, str]) -> str:
    """The address with its variables filled in.

    Raises:
        KeyError: a variable is not set, or is not ours to read.
    """
    if names := foreign(address):
        raise KeyError(names[0])
    return _VARIABLE.sub(lambda found: environ[found[1]], address)


def may_hold_secret(address: str) -> bool:
    """Whether a secret may stand in an address as it is written; most services have it in there."""
    return not variables(address) and _WEB.fullmatch(address) is None
