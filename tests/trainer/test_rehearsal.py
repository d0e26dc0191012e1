"""The rehearsal at real size, in its small form: a whole run of processes, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer

from ireasoner.trainer.adapters.architecture import prompt_inputs
from ireasoner.trainer.adapters.backbone import forbidden_for, load_backbone, load_processor
from ireasoner.trainer.rollouts.prompts import parse_question
from scripts.rehearsal import ROOT, __main__
from scripts.rehearsal.__main__ import main, rehearse
from scripts.rehearsal.checkpoint import parameters, write_checkpoint
from scripts.rehearsal.kept_checkpoint import OtherCheckpointError, kept_checkpoint
from scripts.rehearsal.page import page
from scripts.rehearsal.peak_memory import PeakMemory
from scripts.rehearsal.photos import write_photos
from scripts.rehearsal.planted_question import question_chain
from scripts.rehearsal.size import LARGE, SMALL, Size
from tests.conftest import MODEL

TOKENIZER = os.environ.get("IREASONER_TOKENIZER")


def check(document: dict[str, Any], size: Size, work: Path) -> None:
    """Every update of both roles trained and was published as it was trained, and nothing was lost or repeated."""
    measured = document["measured"]
    updates = measured["updates"]
    assert [each["update"] for each in updates] == [1, 2, 3, 4]
    assert [each["role"] for each in updates] == 2 * ["solver", "proposer"]
    for each in updates:
        assert each["rollouts_trained"] == size.group_size
        assert each["grad_norm"] > 0
        assert 0 <= each["canary_gap_nats"] < 0.1
        assert 0 < each["logprob_gap_nats"] < 0.1
    expected = {signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
    assert measured["exit_codes"] == {number.name: expected[number] for number in size.kills}
    assert all(gib > 0 for gib in measured["peak_gib"].values())
    peaks = measured["peak_anonymous_gib"]
    assert peaks.keys() >= {"rollout server", "trainer"}
    assert peaks["all at once"] == max(peaks.values()) < 24
    exported = work / "rehearsal" / "adapter"
    assert measured["bytes"]["adapter"] == sum(path.stat().st_size for path in exported.iterdir())
    assert (exported / "adapter_model.safetensors").is_file()
    assert measured["bytes"]["checkpoint"] > 2 * measured["bytes"]["adapter"], "both adapters, and moments"


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_a_run_of_processes_is_killed_resumed_and_exported(reward_url: str, tmp_path: Path) -> None:
    """One kill here; the slow test has both, and a reward server of its own."""
    size = replace(SMALL, kills=(signal.SIGKILL,))
    document = rehearse(size, MODEL, tmp_path, reward_url=reward_url)
    check(document, size, tmp_path)
    __main__.write(document, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "rehearsal.json").read_text()) == json.loads(json.dumps(document))
    shown = (tmp_path / "out" / "rehearsal.md").read_text()
    assert shown == page(document)
    assert "| 4 | proposer | 3 | " in shown
    assert "photos of 0.3, 0.1 megapixels, scaled to 16 image tokens; N = 3" in shown


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_runs_the_whole_small_form(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.rehearsal", "--small"]
    folders = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    done = subprocess.run([*command, *folders], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "out" / "rehearsal.json").read_text())
    check(document, SMALL, tmp_path / "work")
    assert document["measured"]["peak_gib"]["reward server"] > 0


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(TOKENIZER is None, reason="IREASONER_TOKENIZER names no folder of a Qwen2.5 tokenizer")
def test_the_rehearsal_at_real_size(tmp_path: Path) -> None:
    """Some twenty minutes, 20 GB of disk and 24 GiB of memory, with nothing beside it."""
    document = rehearse(LARGE, Path(str(TOKENIZER)), tmp_path)
    check(document, LARGE, tmp_path)
    require_good_estimate(document)


def require_good_estimate(document: dict[str, Any]) -> None:
    """`--dry-run` said what memory the trainer would take, within 15%."""
    measured = document["measured"]
    assert measured["estimate_gib"] == pytest.approx(measured["peak_gib"]["trainer"], rel=0.15)


def test_without_a_tokenizer_nothing_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "give --tokenizer FOLDER" in capsys.readouterr().err


def test_the_small_form_does_not_replace_the_figures_at_real_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--small"]) == 2
    assert "give --out FOLDER with --small" in capsys.readouterr().err


def test_a_kept_checkpoint_is_used_again_only_with_its_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.partial").mkdir()
    (tmp_path / "model.partial" / "torn").touch()
    model = kept_checkpoint(SMALL.shape, MODEL, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not (model / "torn").exists()
    before = (model / "config.json").stat().st_mtime_ns
    assert kept_checkpoint(SMALL.shape, MODEL, tmp_path) == model
    assert (model / "config.json").stat().st_mtime_ns == before

    flags = ["--small", "--layers", "1", "--work", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(flags) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("rehearsal: ")
    assert "text_config.num_hidden_layers is 2, not 1" in told
    (model / "config.json").unlink()
    with pytest.raises(OtherCheckpointError, match="is None, not"):
        kept_checkpoint(SMALL.shape, MODEL, tmp_path)


def test_a_checkpoint_gets_its_name_when_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scripts.rehearsal.checkpoint._fill", ended)
    with pytest.raises(KeyboardInterrupt):
        kept_checkpoint(SMALL.shape, MODEL, tmp_path)
    assert not (tmp_path / "model").exists()


def test_a_written_checkpoint_asks_and_is_random_in_between(tmp_path: Path) -> None:
    folder = write_checkpoint(SMALL.shape, MODEL, tmp_path / "model")
    backbone, processor = load_backbone(str(folder), "auto").eval(), load_processor(str(folder))
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.bfloat16}
    assert parameters(folder) == sum(parameter.numel() for parameter in backbone.parameters())
    inputs = prompt_inputs(processor, Image.new("RGB", (112, 84)))
    torch.manual_seed(0)
    sampled = backbone.generate(
        **inputs,
        do_sample=True,
        top_k=0,
        max_new_tokens=5,
        num_return_sequences=8,
        suppress_tokens=list(forbidden_for(str(folder))),
    )
    texts = processor.tokenizer.batch_decode(sampled[:, inputs["input_ids"].size(1) :])
    questions = {parse_question(text) for text in texts}
    assert None not in questions
    assert len(questions) > 1


def test_the_positions_of_a_question_share_no_token() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    chain = question_chain(tokenizer, "<|im_start|>assistant\n")
    flat = [token for tokens in chain for token in tokens]
    assert len(set(flat)) == len(flat)
    assert [len(tokens) for tokens in chain] == [1, 1, 4, 4, 4, 1]


def test_tags_are_written_in_pieces_where_the_tokenizer_has_no_token_for_them() -> None:
    letters = [f"Ġ{first}{second}a" for first in "bcdf" for second in "ghjk"]
    pieces = ["\n", "<", "question", ">", "</", "quest", "ion", ">Ċ", *letters]

    class Tokenizer:
        def get_vocab(self) -> dict[str, int]:
            return {piece: index for index, piece in enumerate(pieces)}

        def encode(self, text: str, **_: Any) -> list[int]:
            return [0]

    chain = question_chain(Tokenizer(), "\n")
    tags = [pieces[tokens[0]] for tokens in chain if len(tokens) == 1]
    assert tags == ["\n", "<", "question", ">", "</", "quest", "ion", ">Ċ"]
    pieces.remove(">Ċ")
    with pytest.raises(ValueError, match="cannot write '>' in tokens that do not repeat"):
        question_chain(Tokenizer(), "\n")


def test_photos_have_their_megapixels(tmp_path: Path) -> None:
    write_photos((0.3, 1.2), tmp_path / "photos")
    areas = []
    for path in sorted((tmp_path / "photos").iterdir()):
        with Image.open(path) as photo:
            assert photo.format == "JPEG"
            areas.append(photo.width * photo.height / 1e6)
    assert areas == pytest.approx([0.3, 1.2], rel=0.01)


def test_a_failure_of_the_sampling_is_raised_at_its_end() -> None:
    asked = threading.Event()

    def pid() -> int:
        asked.set()
        raise LookupError("no such process")

    memory = PeakMemory()
    memory.watch("trainer", pid)
    with pytest.raises(LookupError, match="no such process"), memory.sampled():
        asked.wait(30)


def test_fewer_layers_leave_the_other_dimensions() -> None:
    fewer = LARGE.with_layers(8)
    assert fewer.shape["text_config"] == {**LARGE.shape["text_config"], "num_hidden_layers": 8}
    assert fewer.shape["vision_config"]["fullatt_block_indexes"] == [7]
    assert LARGE.with_layers(3).shape["vision_config"]["fullatt_block_indexes"] == [2]
    assert LARGE.with_layers(99).shape == LARGE.shape


def test_the_large_form_has_photos_of_6_to_12_megapixels_and_two_updates_of_each_role() -> None:
    assert (min(LARGE.megapixels), max(LARGE.megapixels)) == (6, 12)
    assert LARGE.updates == 4
    assert set(LARGE.kills) == {signal.SIGTERM, signal.SIGKILL}


def test_the_committed_page_is_that_of_the_committed_figures() -> None:
    figures = ROOT / "docs" / "rehearsal.json"
    document = json.loads(figures.read_text()) if figures.exists() else None
    assert (ROOT / "docs" / "rehearsal.md").read_text() == page(document)
    if document is not None:
        require_good_estimate(document)
