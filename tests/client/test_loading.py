"""What a program does not use is not loaded: no HTTP without a client, no fleet with one."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("loading")

_LOADED = "import sys\n{}\nprint(*sys.modules)"


def loaded(program: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", _LOADED.format(program)], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("program", ["import tallystick", "from tallystick import Fleet, Refused"])
def test_a_program_without_a_client_loads_no_http(program: str) -> None:
    assert not loaded(program) & {"httpx2", "httpcore2", "tallystick.client.client"}


def test_a_program_with_a_client_loads_no_fleet() -> None:
    modules = loaded("from tallystick import Client")
    assert "httpx2" in modules
    assert not modules & {
        "tallystick.actors.manager",
        "tallystick.fleet",
        "pykka",
        "genai_prices",
        "starlette",
        "uvicorn",
    }
