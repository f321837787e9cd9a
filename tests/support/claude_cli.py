"""What tests of Claude Code share: its real command line, which comes with the package, and a provider of this machine
that it asks.
"""

import json
import os
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import claude_agent_sdk
from claude_agent_sdk import ClaudeAgentOptions

CLI = Path(claude_agent_sdk.__file__).parent / "_bundled" / ("claude.exe" if os.name == "nt" else "claude")
"""The command line; not all systems have it in the package."""
MODEL = "claude-sonnet-4-5"
Blocks = list[dict[str, Any]]
Script = Callable[[int], Blocks | None]
"""What the request of a number is answered with, from 1 on; None is a bad request."""


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def tool(id: str, name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": given}


def shell(id: str, command: str) -> dict[str, Any]:
    return tool(id, "Bash", command=command, description="a test")


def request_of(number: int) -> str:
    """The id of a request, which its answer has in a header."""
    return f"req_011{number:021}"


def tokens_of(number: int) -> int:
    """What the answer of a number counts."""
    return 100 * number + 5 + 1_000 + 20


class Provider:
    """Answers the Messages API by a script, as a stream. An answer counts a hundred tokens of input for its number, 5
    that are written to a cache, 1,000 that are read from one, and 20 of output, of which its first event says 1, as
    the real one's does.
    """

    def __init__(self, script: Script) -> None:
        self.asked: list[dict[str, Any]] = []
        self.script, self.lock = script, threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.provider = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def options(self, folder: Path, **more: Any) -> ClaudeAgentOptions:
        """Options of a session that asks this provider, and knows nothing of who runs the tests."""
        theirs = dict.fromkeys((name for name in os.environ if name.startswith(("ANTHROPIC", "CLAUDE"))), "")
        ours = {
            "HOME": str(folder),
            "CLAUDE_CONFIG_DIR": str(folder / "claude"),
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{self._server.server_address[1]}",
            "ANTHROPIC_API_KEY": "none",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "NO_PROXY": "127.0.0.1",
        }
        given: dict[str, Any] = {"model": MODEL, "allowed_tools": ["Bash", "Agent"], "setting_sources": [], **more}
        return ClaudeAgentOptions(cli_path=CLI, cwd=folder, env=theirs | ours, **given)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""

    def do_HEAD(self) -> None:
        self._send(200, b"")

    def do_POST(self) -> None:
        provider: Provider = self.server.provider  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not self.path.startswith("/v1/messages?"):
            self._send(404, b"{}")
            return
        with provider.lock:
            provider.asked.append(body)
            number = len(provider.asked)
        blocks = provider.script(number)
        if blocks is None:
            self._send(400, b'{"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}')
        else:
            lines = (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events(number, blocks, body))
            self._send(200, "".join(lines).encode(), "text/event-stream", request_of(number))

    def _send(self, status: int, body: bytes, kind: str = "application/json", request: str = "") -> None:
        try:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.send_header("request-id", request)
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True  # it was cancelled


def events(number: int, blocks: Blocks, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer of a number, as the Messages API streams it."""
    usage = {"input_tokens": 100 * number, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 1_000}
    message = {
        "id": f"msg_01{number:022}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "usage": {**usage, "output_tokens": 1},
    }
    parts: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        if block["type"] == "text":
            start, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            start = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        parts += [
            {"type": "content_block_start", "index": index, "content_block": start},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    why = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    end = {"type": "message_delta", "delta": {"stop_reason": why}, "usage": {"output_tokens": 20}}
    return [{"type": "message_start", "message": message}, *parts, end, {"type": "message_stop"}]
