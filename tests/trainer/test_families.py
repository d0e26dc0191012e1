"""Tiny checkpoints of other families: what a dry run shows, and what is refused; `test_families_train` trains them."""

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console
from transformers import AutoConfig, AutoModelForCausalLM

from ireasoner.trainer.adapters.architecture import prompt_inputs, refuse_other_kinds
from ireasoner.trainer.adapters.backbone import (
    language_model_layers,
    load_backbone,
    load_config,
    load_processor,
)
from ireasoner.trainer.commands.dry_run import show_plan
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.images import ImageSizeCheck
from ireasoner.trainer.loop.preflight import check_model, policy_shape
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings
from scripts.tiny_families import FAMILIES, build
from tests.conftest import MODEL
from tests.trainer.offline import OfflineRollouts, answers, offline_settings, offline_trainer

NEEDS_NUM2WORDS = {"smolvlm"}
TOKENS = {"qwen2-vl": 12, "qwen3-vl": 12, "llava": 16}
"""Tokens of an image of 112 x 84 pixels, where its prompt holds nothing else than these for it."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each family, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("families")

    class Made(dict[str, Path]):
        def __missing__(self, family: str) -> Path:
            if family in NEEDS_NUM2WORDS:
                pytest.importorskip("num2words")
            self[family] = build(family, folder / family)
            return self[family]

    return Made()


def settings(model: Path, folder: Path, **fields: Any) -> RunSettings:
    images = folder / "images"
    images.mkdir(exist_ok=True)
    Image.new("RGB", (112, 84), "red").save(images / "a.png")
    return RunSettings(model=str(model), images=images, run_folder=folder / "run", **fields)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_dry_run_of_each_family_shows_its_plan(
    family: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    shown = io.StringIO()
    needed = show_plan(settings(checkpoints[family], tmp_path), Console(file=shown, width=160))
    backbone = load_backbone(str(checkpoints[family]), "float32")
    assert needed.backbone_parameters == sum(parameter.numel() for parameter in backbone.parameters())
    found = re.search(r"tokens of the largest image\W+(\d+)", shown.getvalue())
    assert found is not None
    inputs = prompt_inputs(load_processor(str(checkpoints[family])), Image.new("RGB", (112, 84)))
    placeholders = inputs["input_ids"][0].tolist().count(backbone.config.image_token_id)
    assert 0 < placeholders <= int(found[1]) < placeholders + 100
    if family in TOKENS:
        assert int(found[1]) == placeholders == TOKENS[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_language_model_gets_adapters(
    family: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    of = settings(checkpoints[family], tmp_path)
    check_model(of)
    policy = policy_shape(of, load_config(of.model))
    layers = {name.split(".lora_")[0] for name, _ in policy.named_parameters() if "lora_" in name}
    assert len(layers) == 2 * 7
    within = language_model_layers(policy.get_base_model())
    assert all(within.search(name) for name in layers)
    assert not any("vision" in name for name in layers)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_update_trains_on_what_was_sampled(
    family: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    """The log-probabilities of a padded update equal those of each rollout computed alone."""
    model = str(checkpoints[family])
    of = offline_settings(tmp_path, model=model, updates=2, groups_per_update=2)
    offline_trainer(of, OfflineRollouts(answers((1, 2, 400, 9), (30, 3, 7, 1)), model=model)).go()
    lines = list(read_lines(of.run_folder / "metrics.jsonl"))
    assert [line["solver/rollouts_trained"] for line in lines] == [8, 8]
    assert [line["solver/logprob_gap/max"] < 1e-3 for line in lines] == [True, True]
    assert lines[1]["solver/kl"] > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_tokenizer_the_plan_is_shown_all_the_same(
    family: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    bare = tmp_path / "model"
    bare.mkdir()
    shutil.copy(checkpoints[family] / "config.json", bare)
    shown = io.StringIO()
    show_plan(settings(bare, tmp_path), Console(file=shown, width=160))
    assert "not known" in shown.getvalue()


def test_a_text_starts_once_where_the_chat_template_writes_the_start(checkpoints: dict[str, Path]) -> None:
    """Gemma's tokenizer and template both write it; vLLM tokenises the template's text as it is."""
    processor = load_processor(str(checkpoints["gemma3"]))
    ids = prompt_inputs(processor, Image.new("RGB", (112, 84)))["input_ids"][0].tolist()
    assert ids.count(processor.tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"qwen2-vl", "qwen3-vl"}))
def test_a_bound_that_a_processor_does_not_have_is_refused(
    family: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    of = settings(checkpoints[family], tmp_path, rollout={"max_pixels": 10_000})
    with pytest.raises(SettingsError, match=r"rollout\.max_pixels: \w+ has no bounds of an image's area"):
        check_model(of)


def _config(folder: Path, **fields: object) -> Path:
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


REFUSED = {
    "qwen2": "is a text-only model, and training is on images: .*docs/frameworks",
    "llama": "is a text-only model",
    "gemma3_text": "is a text-only model",
    "qwen3": "is a text-only model",
    "bert": "(is a text-only model|is no model that transformers can ask about an image)",
    "clip": "is no model that transformers can ask about an image",
    "whisper": "(is a text-only model|is no model that transformers can ask)",
    "t5": "is no model that transformers can ask about an image",
    "florence2": "is an encoder-decoder",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_eyes_or_no_words_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    model = str(_config(tmp_path, model_type=kind))
    with pytest.raises(SettingsError, match=rf"^model: {model} \({kind}\) {REFUSED[kind]}") as raised:
        refuse_other_kinds(model, load_config(model))
    assert "\n" not in str(raised.value)


def test_a_text_checkpoint_is_refused_before_its_images_are_read(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "qwen2",
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        vocab_size=99,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "text")
    with pytest.raises(SettingsError, match="text-only model"):
        show_plan(settings(tmp_path / "text", tmp_path), Console(quiet=True))


def test_a_processor_whose_inputs_are_not_trained_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load_processor(str(MODEL))
    call = type(made).__call__

    def other(self: object, *args: object, **kwargs: object) -> object:
        return {**call(self, *args, **kwargs), "aspect_ratio_ids": 1, "cross_attention_mask": 1}

    monkeypatch.setattr(type(made), "__call__", other)
    with pytest.raises(
        SettingsError,
        match="its processor makes the inputs aspect_ratio_ids, cross_attention_mask: the training",
    ):
        check_model(settings(MODEL, tmp_path))


def test_a_size_is_measured_once() -> None:
    measured: list[tuple[int, int]] = []

    def measure(width: int, height: int) -> int:
        measured.append((width, height))
        return width

    check = ImageSizeCheck(object(), 50, measure)
    assert [check.tokens(40, 30), check.tokens(40, 30), check.tokens(60, 30)] == [40, 40, 60]
    assert measured == [(40, 30), (60, 30)]
    assert check.fault(40, 30) is None
    assert "60 x 30 pixels are 60 tokens" in str(check.excess(60, 30))
    assert ImageSizeCheck(object(), 50).tokens(99, 99) is None
    assert ImageSizeCheck(object(), 50).fault(99, 99) is None


def test_a_processor_without_patches_that_refuses_a_size_gives_a_reason() -> None:
    def refuse(width: int, height: int) -> int:
        raise ValueError("too thin")

    assert ImageSizeCheck(object(), 50, refuse).fault(40, 30) == "40 x 30 pixels: too thin"


def test_no_size_is_measured_where_the_context_is_not_known() -> None:
    def measure(width: int, height: int) -> int:
        raise AssertionError("it is compared with nothing")

    assert ImageSizeCheck(object(), None, measure).fault(40, 30) is None
