"""A real language model is grafted, and the loop trains it: the model that the environment names, if it names one."""

import os
import re
from pathlib import Path

import pytest

from ireasoner.cli.__main__ import main
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.rollout_server.running import running_server

ROOT = Path(__file__).resolve().parents[2]
TEXT_MODEL = os.environ.get("IREASONER_TEXT_MODEL")
WARM_START = ["--warm-start-updates", "2", "--prompts-per-update", "2"]


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    TEXT_MODEL is None, reason="IREASONER_TEXT_MODEL names no Qwen2.5 text model (folder or GGUF)"
)
def test_a_real_language_model_sees_and_is_trained(
    reward_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tensorboard"))
    eyes, run = tmp_path / "eyes", tmp_path / "run"
    main(["graft", "--model", str(TEXT_MODEL), "--output", str(eyes), *WARM_START])
    reads = re.search(r"reads ([\d.]+)% of 3,600 held-out", capsys.readouterr().out)
    assert reads is not None
    assert float(reads[1]) > 95

    write_unlabelled(tmp_path / "images", 16, seed=0)
    flags = ["--max-lora-rank", "16", "--dtype", "bfloat16", "--max-model-len", "1024"]
    with running_server(eyes, tmp_path / "log.txt", *flags) as server:
        given = ["--model", str(eyes), "--images", str(tmp_path / "images"), "--run-folder", str(run)]
        urls = ["--reward.url", reward_url, "--rollout.url", server.url]
        # After so short a warm start, few rollouts of a group may hold an answer: drawn rewards train all.
        short = ["--updates", "2", "--proposer-every", "1", "--reward.control", "random"]
        main(["train", "--config", str(ROOT / "configs/grafted.toml"), *given, *urls, *short])
    first, second = read_lines(run / "metrics.jsonl")
    assert [first["role"], second["role"]] == ["solver", "proposer"]
    assert first["solver/groups_left_out"] < 4
    assert first["solver/invalid_rate"] < 1, "answers are read"
    for line, role in ((first, "solver"), (second, "proposer")):
        assert line[f"{role}/rollouts_trained"] > 0
        assert line[f"{role}/logprob_gap/mean"] < 0.1
        assert line[f"{role}/entropy"] > 0
