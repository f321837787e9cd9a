"""The keys of an OpenID provider: fetched from it over https, kept for an hour, and not asked for at every turn."""

import asyncio
import http.client
import json
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import structlog

KEEP_SECONDS: Final = 3_600.0
"""How long keys are used without being asked for again."""
STALE_SECONDS: Final = 86_400.0
"""How long they are used where the issuer does not answer."""
AGAIN_SECONDS: Final = 60.0
"""How often the issuer is asked at most, whatever tokens name."""
SECONDS: Final = 5.0
BYTES_MAX: Final = 1024 * 1024
KEYS_MAX: Final = 100
DISCOVERY: Final = "/.well-known/openid-configuration"
_OK: Final = 200
Fetch = Callable[[str], Any]
"""The JSON at an address; blocks. It raises `OSError` or `ValueError` where there is none."""
log = structlog.get_logger("tallystick.http")


class IssuerKeys:
    """The keys with which an issuer signs, by their ids. ``clock`` is in seconds, and never goes back."""

    def __init__(self, issuer: str, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer, self._fetch, self._clock = issuer, fetch, clock
        self._keys: list[Mapping[str, Any]] = []
        self._fetched_at = self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def find(self, kid: Any) -> Mapping[str, Any] | None:
        """The key (a JWK) with this id; without an id, the only key. None where there is none."""
        found = self._there(kid)
        if found is None or self._clock() - self._fetched_at >= KEEP_SECONDS:
            async with self._asking:
                await self._ask()
            found = self._there(kid)
        return found

    def _there(self, kid: Any) -> Mapping[str, Any] | None:
        if self._clock() - self._fetched_at >= STALE_SECONDS:
            return None
        if kid is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.get("kid") == kid), None)

    async def _ask(self) -> None:
        """Ask the issuer, unless that was just done. Where it does not answer, the keys that are there stay."""
        now = self._clock()
        if now - self._asked_at < AGAIN_SECONDS:
            return
        self._asked_at = now
        try:
            self._keys = await asyncio.to_thread(self._fetched)
        except (OSError, ValueError, http.client.HTTPException) as error:
            log.error("issuer_not_answering", issuer=self._issuer, error=f"{type(error).__name__}: {error}")  # noqa: TRY400
            return
        self._fetched_at = now
        log.info("issuer_keys", issuer=self._issuer, keys=len(self._keys))

    def _fetched(self) -> list[Mapping[str, Any]]:
        """The keys that the issuer has now.

        Raises:
            OSError: it cannot be reached, or its certificate is not trusted.
            ValueError: it answers something else.
        """
        about = self._fetch(self._issuer.rstrip("/") + DISCOVERY)
        if not isinstance(about, dict) or about.get("issuer") != self._issuer:
            raise ValueError("the document at the issuer's address is of another issuer")
        address = about.get("jwks_uri")
        answer = self._fetch(address) if isinstance(address, str) else None
        keys = answer.get("keys") if isinstance(answer, dict) else None
        if not isinstance(keys, list) or len(keys) > KEYS_MAX:
            raise ValueError("the issuer's jwks_uri has no set of keys")
        return [key for key in keys if isinstance(key, dict)]


def fetcher(context: ssl.SSLContext) -> Fetch:
    """Fetches JSON over https, with certificates that ``context`` trusts; follows no redirect."""

    def fetch(address: str) -> Any:
        url = urlsplit(address)
        if url.scheme != "https" or not url.hostname or url.username is not None:
            raise ValueError(f"only https is asked: found {address[:200]!r}")
        connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=SECONDS, context=context)
        try:
            target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
            connection.request("GET", target, headers={"accept": "application/json"})
            response = connection.getresponse()
            if response.status != _OK:
                raise ValueError(f"{address[:200]} was answered {response.status}")
            body = response.read(BYTES_MAX + 1)
        finally:
            connection.close()
        if len(body) > BYTES_MAX:
            raise ValueError(f"{address[:200]} is larger than {BYTES_MAX} bytes")
        return json.loads(body)

    return fetch
