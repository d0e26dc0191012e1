"""OpenRLHF's own executors, from its wheel, against the real server: by URL and with our agent executor."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from ireasoner.reward_server.settings import RewardServerSettings
from tests.frameworks.conftest import Solver, framework_python, run_script
from tests.frameworks.rollouts import DIALECTS, GROUP_SIZE, GROUPS, Dialect, neutral
from tests.reward_server.running import running
from tests.reward_server.test_cohorts import talk, waiting

IN_EACH_DIALECT = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
Sample = Callable[..., dict[str, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Samples groups with OpenRLHF and returns its results."""
    python = framework_python("openrlhf")

    def run(mode: str, url: str, file: Path, texts: dict[str, list[str]], **variables: str) -> Any:
        file.write_text(json.dumps(texts))
        run_script(python, "openrlhf_rollouts", mode, url, str(file), deadline_s=120, **variables)
        return json.loads(Path(f"{file}.out").read_text())

    return run


def address(url: str, config: str) -> str:
    """The value of `--reward.remote_url`."""
    query = {"group_size": GROUP_SIZE, "deadline_s": 60, "config": config}
    return f"{url}/cohort/openrlhf?{urlencode(query)}"


@IN_EACH_DIALECT
def test_by_url(sample: Sample, compass_url: str, tmp_path: Path, solver: Solver, dialect: Dialect) -> None:
    got = sample("url", address(compass_url, dialect.config_text), tmp_path / "texts", dialect.groups)
    for prompt, texts in dialect.groups.items():
        expected = neutral(solver(texts, config=dialect.config))
        assert [each["reward"] for each in got[prompt]] == [[reward] for reward in expected]
        assert [each["scores"] for each in got[prompt]] == [each["reward"] for each in got[prompt]]
        assert {each["extra_logs"]["partial"][0] for each in got[prompt]} == {0.0}


@IN_EACH_DIALECT
def test_by_agent(sample: Sample, compass_url: str, tmp_path: Path, solver: Solver, dialect: Dialect) -> None:
    """Groups are whole although N is not given, also in an evaluation with one sample."""
    groups = {**dialect.groups, "evaluation": [dialect.groups["How much is 9 - 4?"][0]]}
    variables = {"IREASONER_REWARD_URL": compass_url, "IREASONER_REWARD_CONFIG": dialect.config_text}
    got = sample("agent", "", tmp_path / "texts", groups, **variables)
    for prompt, texts in groups.items():
        expected = neutral(solver(texts, config=dialect.config))
        assert [each["reward"] for each in got[prompt]] == expected
        assert got[prompt][0]["extra_logs"].keys() >= {"outcome", "trajectory", "abstained"}


def test_a_prompt_in_flight_twice_makes_two_groups_of_the_given_size(
    sample: Sample, compass_url: str, tmp_path: Path, solver: Solver
) -> None:
    first, second = GROUPS.values()
    variables = {"IREASONER_REWARD_URL": compass_url, "IREASONER_GROUP_SIZE": str(GROUP_SIZE)}
    got = sample("agent", "", tmp_path / "texts", {"q": first + second}, **variables)
    rewards = [each["reward"] for each in got["q"]]
    assert rewards == [*neutral(solver(first)), *solver(second)]
    assert rewards != neutral(solver(first + second)), "they were scored as one group"


def test_a_restart_in_the_middle_of_a_cohort(
    sample: Sample, compass: Path, tmp_path: Path, solver: Solver
) -> None:
    """OpenRLHF retries with the new server, which then has the whole cohort."""
    texts = {"q": GROUPS["How much is 9 - 4?"]}
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    with ThreadPoolExecutor() as pool:
        with running(settings) as url:
            sampling = pool.submit(sample, "url", address(url, "paper"), tmp_path / "late", texts)
            talk(url, lambda http: waiting(http, GROUP_SIZE - 1))
        with running(settings, port=httpx.URL(url).port):
            got = sampling.result(60)
    assert [each["reward"] for each in got["q"]] == [[reward] for reward in solver(texts["q"])]
    assert {each["extra_logs"]["partial"][0] for each in got["q"]} == {0.0}
