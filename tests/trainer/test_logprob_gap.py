"""Sampled and recomputed log-probabilities agree; the gap is logged, and a large one is warned about."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ireasoner.trainer.adapters.backbone import (
    forbid_tokens,
    forbidden_token_ids,
    load_backbone,
    load_processor,
)
from ireasoner.trainer.adapters.canary import Canary
from ireasoner.trainer.errors import RolloutServerError, SettingsError
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.rollout import SamplingContract
from ireasoner.trainer.run_folder.run_folder import read_lines
from tests.conftest import MODEL
from tests.trainer.offline import OfflineRollouts, answers, offline_settings, offline_trainer


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("offset_nats", "alarmed"), [(0.0, False), (0.09, False), (0.11, True)])
def test_a_server_with_other_log_probabilities_is_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, offset_nats: float, alarmed: bool
) -> None:
    settings = offline_settings(tmp_path, rollout={"canary_every": 0})
    offline_trainer(settings, OfflineRollouts(answers((1, 2, 4, 9)), offset_nats)).go()
    [line] = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert line["solver/logprob_gap/mean"] == pytest.approx(offset_nats, abs=1e-3)
    assert ("does the server serve the policy that is trained?" in caplog.text) is alarmed


@pytest.mark.timeout(300)
def test_only_the_gap_of_older_rollouts_is_put_down_to_the_last_update(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = offline_settings(
        tmp_path, updates=2, proposer_every=0, overlap=True, rollout={"canary_every": 0}
    )
    offline_trainer(settings, OfflineRollouts(answers((1, 2, 4, 9), (1, 2, 4, 9)), 0.11)).go()
    lines = list(read_lines(tmp_path / "run" / "metrics.jsonl"))
    assert [line["solver/staleness/max"] for line in lines] == [0, 1]
    fresh, stale = [
        record.getMessage() for record in caplog.records if "nats per token" in record.getMessage()
    ]
    assert "does the server serve the policy that is trained?" in fresh
    assert "before the last update of this role, which has changed it much" in stale


@pytest.mark.timeout(300)
@pytest.mark.parametrize("grpo", [{}, {"gradient_checkpointing": True}], ids=["shared prompt", "TRL's own"])
def test_forbidden_tokens_have_no_probability_at_a_high_temperature(
    tmp_path: Path, grpo: dict[str, Any]
) -> None:
    """The flatter the distribution, the more the forbidden tokens would weigh."""
    settings = offline_settings(
        tmp_path, rollout={"canary_every": 0, "temperature": 5.0}, grpo={"report_to": "none", **grpo}
    )
    offline_trainer(settings, OfflineRollouts(answers((1, 2, 4, 9)))).go()
    [line] = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert line["solver/logprob_gap/max"] < 1e-4
    assert abs(line["solver/kl"]) < 1e-6, "the reference has the same bias"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("every", "logged"),
    [(1, [0.05, 0.07]), (2, [0.05, None]), (0, [None, None])],
    ids=["each", "second", "none"],
)
def test_the_largest_gap_of_the_canary_is_logged_with_its_update(
    every: int, logged: list[float | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both roles are published before the first update, and each again after its own."""
    gaps = iter((0.02, 0.05, 0.03, 0.07))
    monkeypatch.setattr(Canary, "check", lambda *_: next(gaps))
    settings = offline_settings(
        tmp_path,
        updates=2,
        proposer_every=1,
        reward={"control": "random"},
        rollout={"canary_every": every},
    )

    def say(policy: str, request: int, member: int) -> str:
        asked = f"<question>What is the sum of row {1 + member % 3}?</question>"
        return asked if "proposer" in policy else answers((1, 2, 4, 9), (1, 2, 4, 9))(policy, 0, member)

    offline_trainer(settings, OfflineRollouts(say)).go()
    lines = list(read_lines(tmp_path / "run" / "metrics.jsonl"))
    assert [line["role"] for line in lines] == ["solver", "proposer"]
    assert [line.get(f"{line['role']}/canary_gap") for line in lines] == logged


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_vllm_at_temperature_2_samples_from_the_distribution_that_is_trained(
    rollout_url: str, tmp_path: Path
) -> None:
    settings = offline_settings(
        tmp_path,
        updates=2,
        proposer_every=1,
        group_size=8,
        groups_per_update=2,
        reward={"control": "random"},  # so that the proposals have something to learn
        rollout={
            "temperature": 2.0,
            "solver_max_tokens": 24,
            "proposer_max_tokens": 24,
            "canary_tolerance": 1e-3,
        },
    )
    client = RolloutClient(rollout_url)
    try:
        trainer = offline_trainer(settings, client)
        trainer.go()
        trainer.publisher.withdraw()
    finally:
        client.close()
    proposer = list(read_lines(tmp_path / "run" / "metrics.jsonl"))[1]
    assert proposer["proposer/rollouts_trained"] > 0
    assert proposer["proposer/logprob_gap/mean"] < 1e-4
    assert 0 < proposer["proposer/canary_gap"] < 1e-3


def test_ids_without_a_token_are_forbidden_with_the_placeholders() -> None:
    config = load_backbone(str(MODEL), "float32").config
    tokenizer = load_processor(str(MODEL)).tokenizer
    placeholders = (439, 440, 441, 442)
    assert forbidden_token_ids(config, tokenizer) == placeholders
    config.get_text_config().vocab_size += 5
    assert forbidden_token_ids(config, tokenizer) == (*placeholders, 443, 444, 445, 446, 447)
    holes = SimpleNamespace(get_vocab=lambda: {"a": 0, "b": 2, **{str(i): i for i in range(5, 448)}})
    assert forbidden_token_ids(config, holes) == (1, 3, 4, *placeholders)
    config.get_text_config().vocab_size += 1020
    with pytest.raises(SettingsError, match="lacks 1025 ids of its vocabulary, and vLLM can forbid 1024"):
        forbidden_token_ids(config, tokenizer)


def test_a_bias_of_the_backbones_own_is_kept() -> None:
    head = torch.nn.Linear(2, 4)
    backbone = SimpleNamespace(get_output_embeddings=lambda: head)
    own = head.bias.detach().clone()
    forbid_tokens(backbone, [1, 3])
    torch.testing.assert_close(head.bias.detach(), own + torch.tensor([0.0, -100.0, 0.0, -100.0]))
    assert not head.bias.requires_grad


def test_a_server_that_samples_a_forbidden_token_is_refused() -> None:
    client = RolloutClient("http://127.0.0.1:9")
    choices = [{"token_ids": ids} for ids in ([5, 6], [7, 441])]
    client._refuse_forbidden(choices, SamplingContract(4, forbidden_token_ids=(442,)))
    with pytest.raises(RolloutServerError, match="sampled token 441, which the request forbids"):
        client._refuse_forbidden(choices, SamplingContract(4, forbidden_token_ids=(441, 442)))
    client.close()
