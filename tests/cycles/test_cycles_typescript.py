"""The published TypeScript client against a server of ours: `make typescript CLIENT=…/dist/index.js` runs it."""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.serving import Served

PROGRAM = Path(__file__).with_name("published_client.mjs")


@pytest.mark.typescript
def test_the_typescript_client_reserves_commits_streams_and_is_refused(tmp_path: Path) -> None:
    client = Path(os.environ.get("CLIENT", ""))
    assert client.is_file(), "CLIENT names the dist/index.js of the client"
    served = Served(tmp_path)
    with contextlib.closing(served.client()) as operator:
        limits = [{"window": "total", "max": {"cost_usd": 1}}]
        assert operator.post("/v1/allocate-budget", {"agent": "tenant:ts", "limits": limits}).status == 200
    command = ["node", str(PROGRAM), str(client), f"{served.url}/cycles", "ts"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr
    assert served.stop() == 0
