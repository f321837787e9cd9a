"""The least that a server can do: the same server reads a report as JSON, and answers what was answered once."""

import asyncio
import sys

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tallystick.events.messages import ReportUsage
from tallystick.http.server import listen

_decode = msgspec.json.Decoder(ReportUsage).decode
ANSWER = (
    b'{"agent":"agent-000042","percentage":0.000018,"status":"green","action":"continue","throttle_rate":1.0,'
    b'"wait_seconds":0,"decided_by":"level","remaining":{"tokens":999981724,"cost_usd":"9999.56"}}'
)


async def answer(request: Request) -> Response:
    _decode(await request.body())
    return Response(ANSWER, media_type="application/json")


def main() -> None:
    with listen("127.0.0.1", 0) as listening:
        app = Starlette(routes=[Route("/v1/report-usage", answer, methods=["POST"])])
        config = uvicorn.Config(
            app, http="httptools", ws="none", lifespan="off", access_log=False, log_config=None, server_header=False
        )
        sys.stdout.write(f"serving a constant at http://127.0.0.1:{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(uvicorn.Server(config).serve([listening]))


if __name__ == "__main__":
    main()
