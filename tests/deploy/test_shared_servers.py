"""The servers of a fleet in PostgreSQL, as Kubernetes takes them: but for the store, as a server of a file is."""

from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from tallystick.cli.main import main
from tests.support.pages import PROJECT

FOLDER = PROJECT / "deploy" / "kubernetes"


def pod_of(file: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A manifest, its pod and its container."""
    manifest = yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return manifest, pod, container


SHARED, POD, CONTAINER = pod_of("shared/servers.yaml")
ALONE, ALONE_POD, ALONE_CONTAINER = pod_of("server.yaml")


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
def test_the_manifest_follows_its_schema_and_has_no_other_key(version: str) -> None:
    assert kubernetes_validate.validate(SHARED, version, strict=True) == version


def test_there_are_two_and_one_of_them_stays_while_the_other_is_replaced() -> None:
    assert SHARED["spec"]["replicas"] == 2
    assert SHARED["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    (spread,) = POD["topologySpreadConstraints"]
    labels = SHARED["spec"]["template"]["metadata"]["labels"]
    assert spread["labelSelector"] == SHARED["spec"]["selector"] == {"matchLabels": labels}
    service = yaml.safe_load((FOLDER / "service.yaml").read_text(encoding="utf-8"))
    assert service["spec"]["selector"] == labels


def test_but_for_the_store_each_is_as_a_server_alone() -> None:
    same = ("image", "ports", "resources", "securityContext", "startupProbe", "livenessProbe", "readinessProbe")
    assert {name: CONTAINER[name] for name in same} == {name: ALONE_CONTAINER[name] for name in same}
    assert POD["terminationGracePeriodSeconds"] == ALONE_POD["terminationGracePeriodSeconds"]
    settings = {name for name in ALONE_POD["securityContext"] if not name.startswith("fsGroup")}
    assert POD["securityContext"] == {name: ALONE_POD["securityContext"][name] for name in settings}
    mounts = [one for one in ALONE_CONTAINER["volumeMounts"] if one["name"] != "store"]
    assert CONTAINER["volumeMounts"] == mounts
    assert {one["name"] for one in POD["volumes"]} == {one["name"] for one in mounts}


def test_the_servers_take_their_arguments_and_find_each_other_and_the_store() -> None:
    names = {"$(POD_IP)": "192.0.2.7", "$(NAMESPACE)": "agents"}
    arguments = list(CONTAINER["args"])
    for name, value in names.items():
        arguments = [argument.replace(name, value) for argument in arguments]
    assert {"--standby", "--advertise=http://192.0.2.7:8321", "--host=0.0.0.0"} <= set(arguments)
    without = {argument for argument in CONTAINER["args"] if argument not in ("--standby", CONTAINER["args"][2])}
    assert without == set(ALONE_CONTAINER["args"]) - {"--allow-host=$(POD_IP)"}
    variables = {one["name"]: one["valueFrom"] for one in CONTAINER["env"]}
    assert variables["TALLYSTICK_STORE"] == {"secretKeyRef": {"name": "tallystick-store", "key": "url"}}
    # Each option is read before a wrong one is found.
    assert "'--port'" in CliRunner().invoke(main, [*arguments, "--port", "no number"]).output
    dockerfile = (PROJECT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    assert "[server,mcp,postgres,notify]" in dockerfile
