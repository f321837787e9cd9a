"""A fleet behind a server (`tallystick serve`), asked over its HTTP API with one key."""

from collections.abc import Mapping
from typing import Any, Final

import httpx2
from mcp import types
from mcp.shared.exceptions import MCPError

from tallystick.actors.errors import Unanswered
from tallystick.client.client import Client, target_of
from tallystick.client.errors import WrongServer
from tallystick.events.decide.permissions import Caller
from tallystick.events.messages import Command
from tallystick.mcp.answers import Answer, answer_of, answer_of_http, refusal

_SECONDS: Final = 35.0
"""A little longer than the server takes to say that it is late."""
_RETRY_SECONDS: Final = 10.0
"""So long a server that is just being restarted is waited for."""
_PROBLEM: Final = "application/problem+json"


class OfServer:
    """Asks one server.

    Raises:
        ValueError: the URL or the key is none.
    """

    def __init__(self, url: str, key: str | None) -> None:
        target = target_of(url, key)
        self._client = Client(url, key, retry_seconds=_RETRY_SECONDS)
        self._http = httpx2.AsyncClient(**target.settings, timeout=_SECONDS)

    async def caller(self, _: Any) -> Caller | None:
        """Who the server takes the key for.

        Raises:
            MCPError: it does not say.
        """
        answer = await self._get("/v1/session", {})
        if answer.is_refused:
            raise MCPError(types.INTERNAL_ERROR, f"{answer.code}: {answer.value['detail']}", answer.value)
        return None if answer.value["open"] else Caller(answer.value["role"], answer.value["agent"])

    async def ask(self, _: Any, __: Command, message: bytes) -> Answer:
        """The server's answer; where none comes, that."""
        try:
            return answer_of(await self._client.ask_async(message))
        except Unanswered as error:
            return refusal({"code": "unanswered", "detail": str(error)})
        except WrongServer as error:
            return refusal({"code": "unavailable", "detail": str(error)})

    async def view(self, _: Any, name: str, asked: Mapping[str, str]) -> Answer:
        """A view of the server."""
        return await self._get(f"/v1/views/{name}", asked)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()
        self._client.close()

    async def _get(self, path: str, asked: Mapping[str, str]) -> Answer:
        url = self._client.url
        try:
            response = await self._http.get(f"{url}{path}", params=asked)
        except httpx2.TransportError as error:
            text = f"{url} gave no answer ({str(error) or type(error).__name__}): is `tallystick serve` running there?"
            return refusal({"code": "unavailable", "detail": text})
        media = response.headers.get("content-type", "").partition(";")[0]
        if media != ("application/json" if response.status_code == httpx2.codes.OK else _PROBLEM):
            text = f"{url} answers otherwise than a server of tallystick: correct the URL"
            return refusal({"code": "unavailable", "detail": text})
        return answer_of_http(response.status_code, response.content)
