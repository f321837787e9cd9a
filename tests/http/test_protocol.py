"""A connection that sends too much before its request, or too slowly, is closed, and others are served meanwhile."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn

from tallystick.http.protocol import HEAD_MAX, Protocol
from tests.support.serving import SECONDS, Served

LINE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served"))
    yield server
    assert server.stop() == 0


def sent(port: int, data: bytes) -> bytes:
    """What is answered to raw bytes until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:

        def send() -> None:
            with contextlib.suppress(OSError):  # it is closed before all is sent
                connection.sendall(data)

        sending = threading.Thread(target=send)
        sending.start()
        answer = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65_536):
                answer += part
        sending.join()
    return bytes(answer)


@pytest.mark.parametrize("more", [b"X: " + b"y" * 4_000_000, b"X: y\r\n" * 700_000], ids=["large", "many"])
def test_headers_without_end_are_not_kept(served: Served, more: bytes) -> None:
    answer = sent(served.port, LINE + more)
    # What it still sends may reset the connection before the answer is read.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert b"the headers: allowed are 65536 bytes" in served.log.read_bytes()
    assert sent(served.port, LINE + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200 OK")


def test_a_head_within_its_bounds_is_read_request_after_request(served: Served) -> None:
    one = LINE + b"X: " + b"y" * (HEAD_MAX // 2) + b"\r\n"
    answer = sent(served.port, (one + b"\r\n") * 20 + one + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 21


class Impatient(Protocol):
    request_seconds = 0.05


@contextlib.asynccontextmanager
async def impatient() -> AsyncIterator[int]:
    """The port of a server that has read and answered what it was sent in time; it answers after longer than that."""

    async def app(scope: object, receive: object, send: object) -> None:
        await asyncio.sleep(Impatient.request_seconds * 4)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    server = uvicorn.Server(uvicorn.Config(app, http=Impatient, lifespan="off", log_config=None))
    listening = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server.serve([listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await running


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", b"408 Request Timeout"),
        (LINE, b"408 Request Timeout"),
        (LINE + b"Content-Length: 5\r\n\r\n{", b""),
        (LINE + b"Connection: close\r\n\r\n", b"200 OK"),
    ],
    ids=["nothing", "half a head", "half a body", "all of it"],
)
def test_what_is_not_sent_in_time_ends_the_connection_and_what_is_waits_for_its_answer(
    data: bytes, status: bytes
) -> None:
    async def test() -> None:
        async with impatient() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            answer = await asyncio.wait_for(reader.read(), SECONDS)
            writer.close()
        assert answer.partition(b"\r\n")[0].removeprefix(b"HTTP/1.1 ") == status

    asyncio.run(test())
