"""The manifest for KubeRay: its pods follow the schemas of Kubernetes. RayCluster's own schema is not here."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from tallystick.cluster.running import HEALTH
from tests.support.pages import PROJECT

VERSIONS = ("1.29", "1.33", "1.37")
FOLDER = PROJECT / "deploy" / "ray"


def pods() -> list[dict[str, Any]]:
    spec = yaml.safe_load((FOLDER / "raycluster.yaml").read_text(encoding="utf-8"))["spec"]
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": group["template"]["spec"]}
        for group in groups
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pods_and_the_service_follow_their_schemas(version: str) -> None:
    service = yaml.safe_load((FOLDER / "service.yaml").read_text(encoding="utf-8"))
    for document in (*pods(), service):
        assert kubernetes_validate.validate(document, version, strict=True) == version


def test_a_machine_that_does_not_answer_is_given_up_as_soon_as_on_a_laptop() -> None:
    head = pods()[0]["spec"]["containers"][0]
    assert {one["name"]: one["value"] for one in head["env"] if "value" in one} == HEALTH


def test_head_and_workers_have_the_same_image_and_database() -> None:
    containers = [pod["spec"]["containers"][0] for pod in pods()]
    assert len({container["image"] for container in containers}) == 1
    assert all(container["env"][0]["name"] == "TALLYSTICK_STORE" for container in containers)
