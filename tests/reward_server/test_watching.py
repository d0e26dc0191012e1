"""The dashboard and the alerts use metrics that exist, and docs/scaling.md shows what its commands print."""

import json
import re
from dataclasses import replace

import httpx
import numpy as np
import pytest
import yaml

from benchmarks.capacity import LATEST, MODELS, Assumptions, NotMeasured, gpu_seconds, groups_per_s
from benchmarks.comparison import read
from benchmarks.queueing import Load, delays_s
from scripts import scaling_docs
from tests.deployment.compose_file import ROOT
from tests.reward_server.requests import group, rollout, score

DOCS = ROOT / "docs"


def dashboard() -> list[str]:
    panels = json.loads((DOCS / "grafana.json").read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def alerts() -> dict[str, str]:
    groups = yaml.safe_load((DOCS / "alerts.yaml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for one in groups for rule in one["rules"]}


@pytest.mark.parametrize("expression", [*dashboard(), *alerts().values()])
def test_every_expression_uses_metrics_and_labels_that_exist(
    compass_http: httpx.Client, expression: str
) -> None:
    score(compass_http, "solver", group([rollout("7", "north", "east"), rollout("7", "north")]))
    shown = compass_http.get("/metrics").text
    exposed = set(re.findall(r"^# TYPE (\w+)", shown, re.MULTILINE))
    series = exposed | {f"{name}{part}" for name in exposed for part in ("_bucket", "_sum", "_count")}
    used = set(re.findall(r"reward_\w+", expression))
    assert used
    assert used <= series
    labels = {"job", "instance", "le", "figure", "window"} | set(re.findall(r"(\w+)=\"", shown)) | {"result"}
    assert set(re.findall(r"(\w+)=~?\"", expression)) <= labels


def test_the_operators_page_says_what_to_do_about_each_alert() -> None:
    page = (DOCS / "operators.md").read_text()
    assert {name for name in alerts() if f"`{name}`" not in page} == set()


def test_the_scaling_page_shows_what_its_commands_print() -> None:
    assert scaling_docs.PAGE.read_text().count("-m benchmarks.") == 4
    current = scaling_docs.PAGE.read_text()
    stale = scaling_docs.SHOWN.sub(lambda shown: re.sub(r"\d(?= \||\.\d groups)", "9", shown[0]), current)
    assert stale != current
    assert scaling_docs.page(stale) == current


def test_capacity_is_computed_from_the_measurement() -> None:
    measured = read(LATEST)
    twice = [replace(row, ours=2 * row.ours) for row in measured]
    assert groups_per_s(twice) == 2 * groups_per_s(measured) == 2 * groups_per_s()
    with pytest.raises(NotMeasured):
        groups_per_s([])


def test_the_wait_at_one_replica_follows_pollaczek_and_khinchine() -> None:
    load = Load(groups_per_s=7.0, groups_per_request=2, service_s=0.1)
    busy, service_s = load.utilisation(1), 0.2
    expected_s = busy * service_s / (2 * (1 - busy))
    assert delays_s(load, 1, "random", 400_000, seed=1).mean() == pytest.approx(expected_s, rel=0.03)


def test_replicas_and_shorter_queues_shorten_the_wait() -> None:
    load = Load(groups_per_s=30.0, groups_per_request=16, service_s=1 / 11)
    mean = {
        (replicas, balancer): delays_s(load, replicas, balancer, 50_000, seed=2).mean()
        for replicas in (3, 4, 6)
        for balancer in ("random", "two-choices")
    }
    for balancer in ("random", "two-choices"):
        assert mean[3, balancer] > mean[4, balancer] > mean[6, balancer]
    assert all(mean[replicas, "two-choices"] < mean[replicas, "random"] for replicas in (3, 4, 6))


def test_the_cost_of_a_group_grows_with_its_content() -> None:
    small, large = (gpu_seconds(model, Assumptions()) for model in MODELS)
    assert large / small == pytest.approx(MODELS[1].parameters / MODELS[0].parameters, rel=0.05)
    assert gpu_seconds(MODELS[0], Assumptions(rollouts=16)) == pytest.approx(2 * small, rel=0.1)
    assert np.isfinite(large)
