"""The Kubernetes manifests: valid by Kubernetes' own schemas, and in step with the server and the images."""

from typing import Any

import kubernetes_validate
import pytest
import yaml

from ireasoner.compat.flags import FlagsError
from ireasoner.reward_server.settings import RewardServerSettings, read_settings
from tests.deployment.compose_file import ROOT, compose_file

VERSIONS = ("1.27", "1.34")
DOCUMENTS: dict[str, Any] = {
    document["kind"]: document
    for file in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
}


def pod() -> Any:
    return DOCUMENTS["Deployment"]["spec"]["template"]["spec"]


def container() -> Any:
    [only] = pod()["containers"]
    return only


def variables() -> dict[str, str]:
    return {one["name"]: one["value"] for one in container()["env"] if "value" in one}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_each_document_is_valid_by_the_schemas(kind: str, version: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[kind], version, strict=True)


def test_the_schemas_refuse_what_is_wrong() -> None:
    wrong = yaml.safe_load(yaml.safe_dump(DOCUMENTS["Deployment"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_everything_that_replicas_need_is_present() -> None:
    assert set(DOCUMENTS) == {"Service", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    labels = DOCUMENTS["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert DOCUMENTS["Service"]["spec"]["selector"].items() <= labels
    assert DOCUMENTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels
    target = DOCUMENTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == DOCUMENTS["Deployment"]["metadata"]["name"]


def test_probes_use_routes_of_the_server(routes: set[str]) -> None:
    probes = [container()[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")]
    assert set(probes) <= routes


def test_prometheus_is_directed_to_a_route_that_needs_no_token(
    routes: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables().items():
        monkeypatch.setenv(name, value)
    annotations = DOCUMENTS["Deployment"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] in routes
    assert annotations["prometheus.io/port"] == str(container()["ports"][0]["containerPort"])
    assert read_settings(container()["args"]).open_metrics


def test_settings_are_the_servers_own_and_the_image_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables().items():
        monkeypatch.setenv(name, value)
    settings = read_settings(container()["args"])
    assert pod()["terminationGracePeriodSeconds"] > settings.drain_notice_s + settings.shutdown_timeout_s
    assert {one["name"] for one in container()["env"]} <= {
        f"REWARD_{field}".upper() for field in RewardServerSettings.model_fields
    }
    assert container()["image"] == compose_file()["services"]["reward-server"]["image"]


def test_kubernetes_adds_no_variables_that_look_like_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    service = DOCUMENTS["Service"]["metadata"]["name"].upper().replace("-", "_")
    monkeypatch.setenv(f"{service}_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(FlagsError):
        read_settings([])
    assert pod()["enableServiceLinks"] is False


def test_the_pod_is_confined() -> None:
    security = container()["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod()["securityContext"]["runAsNonRoot"] is True


@pytest.fixture(scope="module")
def routes() -> set[str]:
    """The routes of the API."""
    return set(yaml.safe_load((ROOT / "docs" / "openapi.json").read_text())["paths"])
