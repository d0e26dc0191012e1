"""OpenRLHF's own executors, from its wheel, against the real server: by URL and with our agent executor."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.reward_server.settings import RewardServerSettings
from tests.frameworks.conftest import Solver, framework_python, run_script
from tests.frameworks.rollouts import GROUPS
from tests.reward_server.running import running
from tests.reward_server.test_cohorts import talk, waiting

ADDRESS = "/cohort/openrlhf?group_size=5&deadline_s=60"
Sample = Callable[..., dict[str, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Samples groups with OpenRLHF and gives what it got."""
    python = framework_python("openrlhf")

    def run(mode: str, url: str, file: Path, texts: dict[str, list[str]], **variables: str) -> Any:
        file.write_text(json.dumps(texts))
        run_script(python, "openrlhf_rollouts", mode, url, str(file), deadline_s=120, **variables)
        return json.loads(Path(f"{file}.out").read_text())

    return run


def test_by_url(sample: Sample, compass_url: str, tmp_path: Path, solver: Solver) -> None:
    got = sample("url", compass_url + ADDRESS, tmp_path / "texts", GROUPS)
    for prompt, texts in GROUPS.items():
        assert [each["reward"] for each in got[prompt]] == [[reward] for reward in solver(texts)]
        assert [each["scores"] for each in got[prompt]] == [each["reward"] for each in got[prompt]]
        assert {each["extra_logs"]["partial"][0] for each in got[prompt]} == {0.0}


def test_by_agent(sample: Sample, compass_url: str, tmp_path: Path, solver: Solver) -> None:
    """Groups are whole without being told N, in evaluation with one sample as well."""
    groups = {**GROUPS, "evaluation": [GROUPS["How much is 9 - 4?"][0]]}
    got = sample("agent", "", tmp_path / "texts", groups, IREASONER_REWARD_URL=compass_url)
    for prompt, texts in groups.items():
        assert [each["reward"] for each in got[prompt]] == solver(texts)
        assert got[prompt][0]["extra_logs"].keys() >= {"outcome", "trajectory", "abstained"}


def test_overrides_reach_the_server(sample: Sample, compass_url: str, tmp_path: Path, solver: Solver) -> None:
    config = {"preset": "paper", "alpha": 2.0}
    variables = {"IREASONER_REWARD_URL": compass_url, "IREASONER_REWARD_CONFIG": json.dumps(config)}
    got = sample("agent", "", tmp_path / "texts", GROUPS, **variables)
    for prompt, texts in GROUPS.items():
        assert [each["reward"] for each in got[prompt]] == solver(texts, config=config)


def test_a_restart_in_the_middle_of_a_cohort(
    sample: Sample, compass: Path, tmp_path: Path, solver: Solver
) -> None:
    """OpenRLHF comes back to the new server, which has the whole cohort again."""
    texts = {"q": GROUPS["How much is 9 - 4?"]}
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    with ThreadPoolExecutor() as pool:
        with running(settings) as url:
            sampling = pool.submit(sample, "url", url + ADDRESS, tmp_path / "late", texts)
            talk(url, lambda http: waiting(http, 4))
        with running(settings, port=httpx.URL(url).port):
            got = sampling.result(60)
    assert [each["reward"] for each in got["q"]] == [[reward] for reward in solver(texts["q"])]
    assert {each["extra_logs"]["partial"][0] for each in got["q"]} == {0.0}
