"""The image holds what the server needs and runs it as a user without rights."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import PROJECT
from tests.support.serving import Served

DOCKERFILE = PROJECT / "deploy" / "Dockerfile"
IGNORED = PROJECT / "deploy" / "Dockerfile.dockerignore"
SECONDS = 900


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with what they are given, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in lines if line)]


def said(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


@pytest.mark.skipif(sys.platform == "win32", reason="hadolint has no package for Windows")
def test_a_linter_of_dockerfiles_finds_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    command = [str(hadolint), "--config", "deploy/hadolint.yaml", "deploy/Dockerfile"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_wheel_is_built_from_what_is_copied_into_the_image(tmp_path: Path) -> None:
    copied = [given.split()[:-1] for given in said("COPY") if not given.startswith("--from")]
    names = [name for several in copied for name in several]
    for name in names:
        place, target = PROJECT / name, tmp_path / "source" / name
        if place.is_dir():
            shutil.copytree(place, target, ignore=in_the_context)
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(place, target)
    allowed = {line[1:] for line in IGNORED.read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    assert set(names) == allowed, "what is copied, and nothing else, goes into the build"
    (build,) = [command for command in said("RUN") if command.startswith("pip wheel")]
    command = build.replace("/wheels", str(tmp_path / "wheels")).split()
    offline = [sys.executable, "-m", *command, "--quiet", "--no-index", "--no-build-isolation"]
    subprocess.run(offline, cwd=tmp_path / "source", check=True)
    assert len(list((tmp_path / "wheels").glob("tallystick-*.whl"))) == 1


def in_the_context(folder: str, names: list[str]) -> set[str]:
    """What is left out of a folder: links and what Python made."""
    return {name for name in names if name == "__pycache__" or (Path(folder) / name).is_symlink()}


def test_the_image_runs_as_a_user_of_its_own_who_owns_where_the_store_and_the_socket_are() -> None:
    (user,) = said("USER")
    uid, _, gid = user.partition(":")
    assert uid.isdigit()
    assert gid.isdigit()
    assert "0" not in {uid, gid}
    variables = dict(pair.split("=", 1) for pair in said("ENV")[0].split())
    store, runtime = variables["TALLYSTICK_STORE"], variables["XDG_RUNTIME_DIR"]
    (folder,) = said("VOLUME")
    assert store == f"sqlite:///{folder}/tallystick.db"
    owned = f"install --directory --owner {uid} --group {gid} --mode 0700 {folder} {runtime}"
    assert any(owned in command for command in said("RUN"))


def test_the_health_check_tells_a_server_that_answers_from_one_that_does_not(tmp_path: Path) -> None:
    (check,) = said("HEALTHCHECK")
    program = json.loads(check[check.index("[") :])[-1]
    assert program.count(":8321/") == 1
    assert said("EXPOSE") == ["8321"]
    server = Served(tmp_path)
    asked = [sys.executable, "-c", program.replace(":8321/", f":{server.port}/")]
    while_it_runs = subprocess.run(asked, check=False)
    assert server.stop() == 0
    afterwards = subprocess.run(asked, check=False, capture_output=True)
    assert (while_it_runs.returncode, afterwards.returncode) == (0, 1)


def test_the_signal_that_stops_the_container_stops_the_server(tmp_path: Path) -> None:
    (name,) = said("STOPSIGNAL")
    server = Served(tmp_path)
    client = server.client()
    assert client.call("GET", "/readyz").status == 200
    client.close()
    server.process.send_signal(signal.Signals[name])
    server.process.wait(60)
    assert server.stop() == 0


def docker_runs() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not docker_runs(), reason="no Docker engine runs here")
def test_the_image_is_built_and_the_program_in_it_runs() -> None:
    build = ["docker", "build", "--quiet", "--file", "deploy/Dockerfile", "."]
    done = subprocess.run(build, cwd=PROJECT, capture_output=True, text=True, timeout=SECONDS, check=True)
    image = done.stdout.strip()
    for command, printed in (
        (["docker", "run", "--rm", image, "--version"], "tallystick "),
        (["docker", "run", "--rm", "--entrypoint", "id", image, "-u"], said("USER")[0].split(":")[0]),
    ):
        ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert ran.stdout.startswith(printed), ran.stderr
