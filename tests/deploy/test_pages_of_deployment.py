"""What the pages show for systemd, Docker and Kubernetes, which are not here, fits the files and the command line."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from tallystick.cli.main import main
from tests.support.pages import PROJECT, blocks

HOW_TO = PROJECT / "docs" / "how-to"
SERVICE, CONTAINER, CLUSTER = (
    HOW_TO / f"run-{name}.md" for name in ("as-a-service", "in-a-container", "on-kubernetes")
)
MANY_FLEETS = (HOW_TO / "run-many-fleets.md", HOW_TO / "run-many-fleets-on-kubernetes.md")
OTHERS = [HOW_TO / f"{name}.md" for name in ("back-up-and-restore", "run-a-standby", "upgrade")]
PAGES = (*MANY_FLEETS, SERVICE, CONTAINER, CLUSTER, *OTHERS)
PROGRAM = re.compile(r"(.*/)?tallystick(:[0-9.]+)?")
GROUP = click.Context(main)


def commands(page: Path) -> Iterator[list[str]]:
    """The calls of tallystick in the blocks of a page that are not run, as words behind the name of the program."""
    for block in blocks(page):
        if block.language == "text":
            for line in block.text.replace("\\\n", " ").splitlines():
                yield from calls(shlex.split(line.replace("ExecStart=", "")))


def calls(words: list[str]) -> Iterator[list[str]]:
    for number, word in enumerate(words[:-1]):
        if PROGRAM.fullmatch(word) and words[number + 1] in main.list_commands(GROUP):
            rest = words[number + 1 :]
            yield rest[: rest.index("|")] if "|" in rest else rest


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_option_of_a_command_that_is_shown_is_there(page: Path) -> None:
    for words in commands(page):
        command: click.Command | None = main
        rest = words
        while isinstance(command, click.Group):
            command, rest = command.get_command(click.Context(command), rest[0]), rest[1:]
        assert command is not None, words
        known = {name for option in command.params for name in option.opts}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, words


def test_commands_are_found_on_the_pages() -> None:
    assert len(list(commands(SERVICE))) >= 3
    assert len(list(commands(CONTAINER))) >= 4
    assert len(list(commands(CLUSTER))) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_of_the_repository_that_is_named_is_there(page: Path) -> None:
    named = set(re.findall(r"\bdeploy/[\w./-]*\w", page.read_text(encoding="utf-8")))
    assert all((PROJECT / name).exists() for name in named), named


def test_every_manifest_is_used_on_the_page() -> None:
    text = CLUSTER.read_text(encoding="utf-8")
    assert all(path.name in text for path in (PROJECT / "deploy" / "kubernetes").iterdir())


def test_the_pod_on_the_page_follows_its_schema() -> None:
    (pod,) = [yaml.safe_load(block.text) for block in blocks(CLUSTER) if block.language == "yaml"]
    kubernetes_validate.validate(pod, "1.37", strict=True)


def test_compose_runs_the_image_as_docker_run_does() -> None:
    (document,) = [yaml.safe_load(block.text) for block in blocks(CONTAINER) if block.language == "yaml"]
    service: dict[str, Any] = document["services"]["tallystick"]
    (ran,) = [words for words in commands(CONTAINER) if words[0] == "serve"]
    assert " ".join(service["command"]).replace("=", " ").split() == ran
    result = CliRunner().invoke(main, [*service["command"], "--no-such-option"])
    assert "No such option" in result.output
    image = (PROJECT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    stored, _ = (volume.split(":")[1] for volume in service["volumes"])
    assert f"VOLUME {stored}\n" in image
    user = re.search(r"USER (\d+):(\d+)", image)
    assert user is not None
    assert f"/run/tallystick:uid={user[1]},gid={user[2]},mode=0700" in service["tmpfs"]
    assert service["image"] in CONTAINER.read_text(encoding="utf-8").split("```yaml")[0]
