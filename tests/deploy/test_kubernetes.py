"""The manifests are what Kubernetes takes, and fit each other, the image and the server."""

from itertools import chain
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from tallystick.cli.main import main
from tallystick.config.loader import parse
from tallystick.http.server import STOP_SECONDS
from tests.support.pages import PROJECT

FOLDER = PROJECT / "deploy" / "kubernetes"
VERSIONS = ("1.29", "1.33", "1.37")
"""Versions of Kubernetes by whose schemas the manifests are checked."""
DOCKERFILE = (PROJECT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def documents() -> dict[str, dict[str, Any]]:
    """Every manifest, by its kind and name."""
    files = [yaml.safe_load_all(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yaml"))]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in chain(*files)}


SERVER = documents()["StatefulSet/tallystick"]
POD = SERVER["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(documents()))
def test_a_manifest_follows_its_schema_and_has_no_other_key(name: str, version: str) -> None:
    assert kubernetes_validate.validate(documents()[name], version, strict=True) == version


def test_the_schemas_are_followed_down_to_the_last_key() -> None:
    misspelled = documents()["StatefulSet/tallystick"]
    misspelled["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]["prot"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="prot"):
        kubernetes_validate.validate(misspelled, VERSIONS[-1], strict=True)


def test_there_is_one_server_and_it_has_the_time_to_finish_what_was_accepted() -> None:
    assert SERVER["spec"]["replicas"] == 1
    assert POD["terminationGracePeriodSeconds"] >= STOP_SECONDS + 10
    assert "lifecycle" not in CONTAINER


def test_the_names_that_the_manifests_give_each_other_are_there() -> None:
    there = documents()
    for volume in POD["volumes"]:
        claim, settings = volume.get("persistentVolumeClaim"), volume.get("configMap")
        assert claim is None or f"PersistentVolumeClaim/{claim['claimName']}" in there
        assert settings is None or f"ConfigMap/{settings['name']}" in there
    assert {one["name"] for one in CONTAINER["volumeMounts"]} == {one["name"] for one in POD["volumes"]}
    service = there[f"Service/{SERVER['spec']['serviceName']}"]
    labels = SERVER["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == SERVER["spec"]["selector"]["matchLabels"] == labels
    (port,) = CONTAINER["ports"]
    assert [one["targetPort"] for one in service["spec"]["ports"]] == [port["name"]]
    assert f"EXPOSE {port['containerPort']}\n" in DOCKERFILE


def test_the_pod_writes_where_the_image_keeps_the_store_and_the_socket_and_nowhere_else() -> None:
    places = {one["mountPath"] for one in CONTAINER["volumeMounts"] if not one.get("readOnly")}
    assert places == {"/var/lib/tallystick", "/run/tallystick", "/tmp"}  # noqa: S108 - a folder of the pod's own
    assert "TALLYSTICK_STORE=sqlite:////var/lib/tallystick/" in DOCKERFILE
    assert "XDG_RUNTIME_DIR=/run/tallystick\n" in DOCKERFILE
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_pod_keeps_the_restricted_standard_of_pod_security() -> None:
    user = f"USER {POD['securityContext']['runAsUser']}:{POD['securityContext']['runAsGroup']}\n"
    assert user in DOCKERFILE
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"]["allowPrivilegeEscalation"] is False
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(POD)
    assert not any("hostPath" in volume for volume in POD["volumes"])


def test_the_probes_ask_under_a_name_that_the_server_reads() -> None:
    probes = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert all(probe["httpHeaders"] == [{"name": "Host", "value": "localhost"}] for probe in probes.values())


def test_the_server_takes_its_arguments_and_finds_its_settings() -> None:
    arguments = [argument.replace("$(POD_IP)", "192.0.2.7") for argument in CONTAINER["args"]]
    arguments = [argument.replace("$(NAMESPACE)", "agents") for argument in arguments]
    assert {"--host=0.0.0.0", "--allow-host=tallystick", "--allow-host=192.0.2.7"} <= set(arguments)
    assert not [argument for argument in arguments if "$" in argument]
    (config,) = [argument.partition("=")[2] for argument in arguments if argument.startswith("--config")]
    data = documents()["ConfigMap/tallystick-settings"]["data"]
    assert [f"/etc/tallystick/{name}" for name in data] == [config]
    parse(data["resource-limits.yml"], "resource-limits.yml")
    # Each option is read before a wrong one is found.
    result = CliRunner().invoke(main, [*arguments, "--port", "no number"])
    assert "'--port'" in result.output
    refused = CliRunner().invoke(main, [*arguments, "--no-such-option"])
    assert "No such option" in refused.output
