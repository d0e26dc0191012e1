"""Each family of `scripts.tiny_families` through the real vLLM and the real trainer: two updates of each role."""

from pathlib import Path

import pytest
from rich.console import Console

from ireasoner.trainer.loop import proposals
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from scripts.tiny_families import FAMILIES, build
from tests.rollout_server.running import running_server
from tests.trainer.training import require_two_updates_of_each_role

NOT_SERVED = {"llava-onevision": "does not support LoRA"}
"""What vLLM says of the families that it cannot serve with adapters."""


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in NOT_SERVED])
def test_two_updates_of_each_role(
    family: str, reward_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if family == "smolvlm":
        pytest.importorskip("num2words")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")
    # Random weights write no question; everything else is as it is.
    monkeypatch.setattr(proposals, "parse_question", lambda text: "What is it?")
    model = build(family, tmp_path / "model")
    write_unlabelled(tmp_path / "images", 4, seed=0)
    with running_server(model, tmp_path / "log.txt") as server:
        run = train(
            RunSettings(
                model=str(model),
                images=tmp_path / "images",
                run_folder=tmp_path / "run",
                updates=4,
                proposer_every=1,
                group_size=3,
                groups_per_update=2,
                cpu_threads=1,
                lora={"dropout": 0.0},
                reward={"url": reward_url, "control": "random"},
                rollout={
                    "url": server.url,
                    "solver_max_tokens": 16,
                    "proposer_max_tokens": 16,
                    "canary_tolerance": 1e-3,
                },
                grpo={"learning_rate": 1e-2, "report_to": "none"},
            ),
            Console(quiet=True),
        )
    require_two_updates_of_each_role(run.path)


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.parametrize("family", NOT_SERVED)
def test_what_vllm_cannot_serve_ends_with_its_reason(family: str, tmp_path: Path) -> None:
    model = build(family, tmp_path / "model")
    log = tmp_path / "log.txt"
    with pytest.raises(Exception), running_server(model, log):  # noqa: B017, PT011  the log holds what is asked
        pass
    assert NOT_SERVED[family] in log.read_text()
