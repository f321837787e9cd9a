"""Bearer tokens of an OpenID provider: signed by its keys, for this server, and with a claim that says the role."""

import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import jwt
import structlog

from tallystick.config.kinds import NAME_MAX
from tallystick.config.spelling import misspelled, repaired
from tallystick.events.decide.permissions import ROLES, Caller
from tallystick.http.access import NoRole
from tallystick.http.identity import Identity
from tallystick.http.issuer_keys import IssuerKeys, fetcher

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric ones: what verifies a token cannot make one."""
LEEWAY_SECONDS: Final = 30
"""How far the provider's clock may be apart."""
_OPTIONS: Final[Any] = {"require": ["exp", "iat", "iss", "aud", "sub"], "enforce_minimum_key_length": True}
_PARTS: Final = 3
log = structlog.get_logger("tallystick.http")


class Provider(NamedTuple):
    """An OpenID provider as it is configured. Claims may be paths, like ``realm_access.roles``."""

    issuer: str
    audience: str
    role_claim: str
    agent_claim: str


class OidcTokens:
    """Reads the tokens of one provider. ``clock`` is in seconds since the epoch."""

    def __init__(self, provider: Provider, keys: IssuerKeys, clock: Callable[[], float] = time.time) -> None:
        self._provider, self._keys, self._clock = provider, keys, clock

    @classmethod
    def of(cls, provider: Provider, context: ssl.SSLContext) -> "OidcTokens":
        """Tokens whose keys are fetched from the issuer; ``context`` says which certificates are trusted."""
        return cls(provider, IssuerKeys(provider.issuer, fetcher(context)))

    async def identify(self, token: str) -> Identity | None:
        """Whose token it is; None where it is not valid.

        Raises:
            NoRole: it is valid, and does not say one role, or not whom an agent's holder acts for.
        """
        if token.count(".") != _PARTS - 1:
            return None
        try:
            claims = await self._verified(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            log.info("token_refused", reason=type(error).__name__)
            return None
        return None if claims is None else self._identity(claims)

    async def _verified(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that the issuer has signed for this server; None where it has no such key.

        Raises:
            PyJWTError: it is malformed, not valid any more or not yet, for another audience, or signed otherwise.
        """
        head = jwt.get_unverified_header(token)
        algorithm = head.get("alg")
        # Before anything is looked up: a token says neither how it is verified, nor where its keys are.
        if algorithm not in ALGORITHMS:
            raise jwt.InvalidAlgorithmError("not an asymmetric algorithm")
        found = await self._keys.find(head.get("kid"))
        if found is None or found.get("use", "sig") != "sig" or found.get("alg", algorithm) != algorithm:
            return None
        key = jwt.PyJWK.from_dict(dict(found), algorithm)
        provider = self._provider
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=provider.audience,
            issuer=provider.issuer,
            leeway=LEEWAY_SECONDS,
            options=_OPTIONS,
        )

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        provider = self._provider
        said = _claim(claims, provider.role_claim)
        roles = [role for role in ROLES if role == said or (isinstance(said, list) and role in said)]
        if len(roles) != 1:
            raise NoRole(f"the token's claim {provider.role_claim} has to say one role of {', '.join(ROLES)}")
        (role,) = roles
        agent = _claim(claims, provider.agent_claim)
        if agent is not None and not _is_name(agent):
            raise NoRole(f"the token's claim {provider.agent_claim} is no id of an agent")
        if role == "agent" and agent is None:
            raise NoRole(f"the token's claim {provider.agent_claim} has to say which agent its holder acts for")
        subject, end = repaired(str(claims["sub"]))[:NAME_MAX].strip() or provider.issuer[:NAME_MAX], claims["exp"]
        return Identity(
            agent or subject, subject, Caller(role, agent), ended=lambda: self._clock() > end + LEEWAY_SECONDS
        )


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by the path to it."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME_MAX and misspelled(value) is None
