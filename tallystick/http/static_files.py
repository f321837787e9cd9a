"""The dashboard's files, as they were built from ``web/``: read once, sent with an ETag and a strict content policy."""

import hashlib
from importlib import resources
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    # Asked for again each time, and then mostly not sent: a newer version is shown at once.
    "cache-control": "no-cache",
}
TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "app.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


class _File(NamedTuple):
    data: bytes
    type: str
    etag: str


class StaticFiles:
    """The files by their paths."""

    def __init__(self) -> None:
        folder = resources.files("tallystick.http") / "static"
        self._files: dict[str, _File] = {}
        for name, kind in TYPES.items():
            data = (folder / name).read_bytes()
            etag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
            self._files["/" if name == "index.html" else f"/{name}"] = _File(data, kind, etag)

    @property
    def paths(self) -> list[str]:
        return list(self._files)

    async def file(self, request: Request) -> Response:
        """``GET /`` and what it names."""
        found = self._files[request.url.path]
        headers = {**HEADERS, "etag": found.etag}
        asked = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if found.etag in asked:
            return Response(status_code=304, headers=headers)
        return Response(found.data, 200, headers, found.type)
