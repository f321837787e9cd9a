"""What leaves a fleet by itself beside alerts: its events to webhooks, and links with which alerts are answered.

The configuration is kept whole in the log, so it says where a secret is (a variable of the environment, or a file),
and never the secret itself.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from msgspec import Meta

from tallystick.config.addresses import foreign, resolved, variables
from tallystick.config.errors import Unfit
from tallystick.config.kinds import BatchMax, Name, SecretPlace, Text
from tallystick.config.section import Section

RaisePercent = Annotated[int, Meta(ge=1, le=1_000, description="a whole number from 1 to 1000")]
WEBHOOKS_MAX: Final = 16
_FILE: Final = "file:"
_SECRET_BYTES_MAX: Final = 4_096


class NoSecret(Exception):
    """A secret is not where the configuration says it is; the text says why, and nothing of what is there."""


class Webhook(Section, frozen=True):
    """Where events go as CloudEvents, and with which secret they are signed. ``kinds``: of these only, where any."""

    url: Text
    secret: SecretPlace
    kinds: tuple[Name, ...] = ()
    batch_max: BatchMax = 100

    def __post_init__(self) -> None:
        words = "an address like https://example.com/hook, in which ${TALLYSTICK_NAME} may stand for a secret part"
        if foreign(self.url) or not _is_web(self.url) or "@" in urlsplit(self.url).netloc:
            raise Unfit({("url",): words})


class ApprovalLinks(Section, frozen=True):
    """Links in alerts with which their recipients answer: under which address people reach the server, the key that
    signs, who may loosen a limit (names of ``notifications``), and by how much a limit is raised.
    """

    public_url: Text
    key: SecretPlace
    may_loosen: tuple[Name, ...] = ()
    raise_percent: RaisePercent = 50

    def __post_init__(self) -> None:
        parts = urlsplit(self.public_url) if _is_web(self.public_url) and not variables(self.public_url) else None
        if parts is None or "@" in parts.netloc or parts.query or parts.fragment:
            raise Unfit(
                {("public_url",): "the address of the server as people reach it, like https://budget.example.com"}
            )


def check_outgoing(
    webhooks: Mapping[str, Webhook], links: ApprovalLinks | None, notifications: Mapping[str, object]
) -> None:
    """There are few webhooks, as each has a thread; and who may loosen a limit by a link gets alerts.

    Raises:
        Unfit: there are too many, or one is no recipient.
    """
    if len(webhooks) > WEBHOOKS_MAX:
        raise Unfit({("webhooks",): f"a map of at most {WEBHOOKS_MAX} webhooks, and there are {len(webhooks)}"})
    for place, name in enumerate(() if links is None else links.may_loosen):
        if name not in notifications:
            words = f"a name under notifications ({', '.join(notifications) or 'there is none'})"
            raise Unfit({("approval_links", "may_loosen", place): words})


def secret_at(place: str, environ: Mapping[str, str]) -> bytes:
    """What stands at the place of a secret, without the white space around it.

    Raises:
        NoSecret: there is nothing, or it cannot be read.
    """
    if place.startswith(_FILE):
        file = Path(place.removeprefix(_FILE))
        try:
            if file.exists() and not file.is_file():
                raise NoSecret(f"{file} is no file")
            with file.open("rb") as opened:
                found = opened.read(_SECRET_BYTES_MAX + 1).strip()
        except (OSError, ValueError) as error:
            raise NoSecret(f"the file {file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
        what = f"the file {file}"
    else:
        try:
            found = resolved(place, environ).encode(errors="replace").strip()
        except KeyError as error:
            raise NoSecret(f"the variable {error.args[0]} is not set") from None
        what = f"the variable {variables(place)[0]}"
    if not found:
        raise NoSecret(f"{what} is empty")
    if len(found) > _SECRET_BYTES_MAX:
        raise NoSecret(f"{what} is longer than {_SECRET_BYTES_MAX} bytes")
    return found


def _is_web(url: str) -> bool:
    """Whether it is an address of the web; what a variable stands for is not looked at."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        return False


def outgoing_secrets(webhooks: Mapping[str, Webhook], links: ApprovalLinks | None) -> Iterable[tuple[str, str]]:
    """The keys of a configuration that say where a secret is, and what they say."""
    for name, hook in webhooks.items():
        yield f"webhooks.{name}.secret", hook.secret
    if links is not None:
        yield "approval_links.key", links.key
