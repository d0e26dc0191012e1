"""A run leaves out the images that its policy cannot take, and refuses those that the model context cannot hold."""

import io
import logging
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from pydantic import ValidationError
from rich.console import Console

from ireasoner.compat.flags import describe
from ireasoner.trainer.adapters.backbone import load_processor
from ireasoner.trainer.commands.dry_run import show_plan
from ireasoner.trainer.errors import ImagesError, SettingsError
from ireasoner.trainer.images import ImageSet, ImageSizeCheck
from ireasoner.trainer.loop.usable_images import scan_images, text_tokens, usable_images
from ireasoner.trainer.rewards.needs import NOTHING, Needs
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.prompts import proposer_messages, solver_messages
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.settings import RunSettings
from tests.conftest import MODEL

TOKEN_PX = 28 * 28


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    """A folder with an image of 4 tokens, one of 60, and one that no policy of this architecture takes."""
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", (56, 56)).save(images / "small.png")
    Image.new("RGB", (280, 168)).save(images / "large.png")
    Image.new("RGB", (2010, 10)).save(images / "thin.png")
    return RunSettings(
        model=str(MODEL),
        images=images,
        run_folder=tmp_path / "run",
        rollout={
            "min_pixels": TOKEN_PX,
            "max_pixels": 100 * TOKEN_PX,
            "solver_max_tokens": 64,
            "proposer_max_tokens": 24,
        },
    )


def processor(settings: RunSettings) -> Any:
    bounds = settings.rollout
    return load_processor(settings.model, min_pixels=bounds.min_pixels, max_pixels=bounds.max_pixels)


def usable(settings: RunSettings, context_tokens: int | None) -> ImageSet:
    images = scan_images(settings, Console(quiet=True))
    return usable_images(images, processor(settings), settings, context_tokens)


def names(images: ImageSet) -> list[str]:
    return [file.name for file in images.files]


@pytest.mark.parametrize(
    ("bounds", "tokens"),
    [
        ({}, 6),
        ({"max_pixels": 20 * TOKEN_PX}, 15),
        ({"min_pixels": TOKEN_PX}, 6),
        ({"min_pixels": TOKEN_PX, "max_pixels": 4 * TOKEN_PX}, 2),
        ({"min_pixels": 100 * TOKEN_PX, "max_pixels": 200 * TOKEN_PX}, 104),
    ],
)
def test_the_bounds_replace_the_checkpoints_own(bounds: dict[str, int], tokens: int) -> None:
    bounded = load_processor(str(MODEL), **bounds)
    given = bounded(images=[[Image.new("RGB", (280, 168))]], text=["<|image_pad|>"])
    assert len(given["input_ids"][0]) == tokens == ImageSizeCheck(bounded.image_processor).tokens(280, 168)


@pytest.mark.parametrize("bounds", [{"min_pixels": 100 * TOKEN_PX}, {"max_pixels": TOKEN_PX}])
def test_a_bound_that_contradicts_the_checkpoints_other_one_is_refused(bounds: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=r"rollout: min_pixels .* is above max_pixels .* so set both"):
        load_processor(str(MODEL), **bounds)


def test_bounds_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="min_pixels 2 is above max_pixels 1"):
        RunSettings(
            model="m", images=tmp_path, run_folder=tmp_path, rollout={"min_pixels": 2, "max_pixels": 1}
        )


def test_the_context_holds_the_longest_prompt_with_its_image_and_completion(settings: RunSettings) -> None:
    own = processor(settings)
    picture = Image.new("RGB", (280, 168))
    question = " ".join("sum" for _ in range(30))
    [solver, proposer] = [
        own.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for messages in (solver_messages(question), proposer_messages())
    ]
    lengths = [len(own(images=[[picture]], text=[text])["input_ids"][0]) for text in (solver, proposer)]
    question_tokens = len(own.tokenizer(question)["input_ids"])
    needed = max(lengths[0] - question_tokens + 24 + 64, lengths[1] + 24)
    image_tokens = ImageSizeCheck(own.image_processor).tokens(280, 168)
    assert image_tokens is not None
    assert text_tokens(own, settings) + image_tokens == needed

    assert names(usable(settings, needed)) == ["large.png", "small.png"]
    with pytest.raises(ImagesError) as refused:
        usable(settings, needed - 1)
    assert str(refused.value) == (
        "images: large.png does not fit: 280 x 168 pixels are 60 tokens, and the model context has room for 59 beside "
        "prompt and completion: set rollout.max_pixels and the rollout server's --max-pixels to 46256 or less, or "
        "start the rollout server with a larger --max-model-len (or raise rollout.context_tokens, if it is set)"
    )


def test_the_bound_that_a_refusal_names_makes_the_images_fit(settings: RunSettings) -> None:
    Image.new("RGB", (140, 140)).save(settings.images / "square.png")
    longest = text_tokens(processor(settings), settings)
    with pytest.raises(ImagesError, match=r"large.png and 1 more do not fit: .* to (\d+) or less") as refused:
        usable(settings, longest + 23)
    [area] = re.findall(r"to (\d+) or less", str(refused.value))
    rollout = settings.rollout.model_copy(update={"max_pixels": int(area)})
    bounded = settings.model_copy(update={"rollout": rollout})
    assert names(usable(bounded, longest + 23)) == ["large.png", "small.png", "square.png"]


def test_without_a_known_context_only_the_policy_counts(settings: RunSettings) -> None:
    images = usable(settings, None)
    assert names(images) == ["large.png", "small.png"]
    assert "aspect ratio must be smaller than 200, got 201" in images.left_out["thin.png"]


def test_a_context_without_room_for_any_image_is_named(settings: RunSettings) -> None:
    with pytest.raises(
        SettingsError,
        match=r"context of 100 tokens \(the rollout server's --max-model-len, or rollout.context_tokens if it is "
        r"set\) has no room for an image",
    ):
        usable(settings, 100)


def test_too_few_usable_images_are_refused_by_name(settings: RunSettings) -> None:
    many = settings.model_copy(update={"groups_per_update": 3})
    with pytest.raises(
        ImagesError, match=r"has 2 usable images, fewer than the 3 (?s:.*)thin.png: 2010 x 10"
    ):
        usable(many, None)


def test_a_dry_run_names_and_counts_what_a_run_would_leave_out(
    settings: RunSettings, caplog: pytest.LogCaptureFixture
) -> None:
    (settings.images / "torn.png").touch()
    shown = io.StringIO()
    with caplog.at_level(logging.WARNING):
        show_plan(settings, Console(file=shown, width=400))
    rows = [" ".join(line.replace("│", " ").split()) for line in shown.getvalue().splitlines()]
    assert f"images 2 in {settings.images}, 2 left out" in rows
    assert "tokens of the largest image 60" in rows
    longest = text_tokens(processor(settings), settings) + 60
    assert f"tokens of the longest prompt and completion {longest}" in rows
    assert "model context 1,024, of the model; a rollout server can have less" in rows
    assert [message.split(" is left out: ")[0] for message in caplog.messages] == [
        "images: torn.png",
        "images: thin.png",
    ]


def test_the_scan_shows_progress_where_it_decodes(settings: RunSettings) -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=160)
    scan_images(settings, console)
    assert "read new images: 3 of 3" in shown.getvalue()
    shown.truncate(0)
    scan_images(settings, console)
    assert "read new images" not in shown.getvalue()


@pytest.mark.parametrize(
    ("served", "context"),
    [
        ([{"id": "base", "max_model_len": 8192}, {"id": "adapter", "max_model_len": None}], 8192),
        ([{"id": "base"}], None),
    ],
)
def test_the_server_says_how_long_its_context_is(
    served: list[dict[str, Any]], context: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(self: RolloutClient, *_: object) -> httpx.Response:
        shorter = [
            {**model, "max_model_len": 4096}
            for model in served
            if "b" in self.base_url and model.get("max_model_len")
        ]
        return httpx.Response(200, json={"data": shorter or served})

    monkeypatch.setattr(RolloutClient, "request", answer)
    one, other = RolloutClient("http://a"), RolloutClient("http://b")
    assert one.context_tokens() == context
    both = RolloutReplicas([one, other])
    assert both.context_tokens() == (None if context is None else 4096)
    both.close()


def test_a_wrong_bound_is_described() -> None:
    with pytest.raises(ValidationError, match="max_pixels") as raised:
        RunSettings(model="m", images=Path(), run_folder=Path(), rollout={"max_pixels": 0})
    assert describe(raised.value, RunSettings).startswith("rollout.max_pixels: ")


@pytest.mark.parametrize(
    ("fields", "needs", "setting"),
    [
        ({}, NOTHING, "solver_max_tokens"),
        ({"rollout": {"proposer_max_tokens": 200, "solver_max_tokens": 1}}, NOTHING, "solver_max_tokens"),
        ({"views": {"names": ("plain", "paraphrase")}}, NOTHING, "proposer_max_tokens"),
        ({"views": {"names": ("paraphrase", "jpeg", "paraphrase")}}, NOTHING, "proposer_max_tokens"),
        ({"reward": {"voters": "paraphrase"}}, NOTHING, "proposer_max_tokens"),
        ({"views": {"names": ("plain", "jpeg")}}, NOTHING, "solver_max_tokens"),
        ({"rollout": {"judge_max_tokens": 300}}, Needs(frozenset({"judge"})), "judge_max_tokens"),
        ({"rollout": {"judge_max_tokens": 300}}, NOTHING, "solver_max_tokens"),
    ],
)
def test_the_setting_of_the_longest_text_is_named(
    settings: RunSettings, fields: dict[str, Any], needs: Needs, setting: str
) -> None:
    """Under a long proposal, only a paraphrase holds two of them."""
    fields = {"rollout": {"proposer_max_tokens": 400, "solver_max_tokens": 1}, "group_size": 6, **fields}
    one = RunSettings(model=settings.model, images=settings.images, run_folder=settings.run_folder, **fields)
    own, images = processor(settings), scan_images(settings, Console(quiet=True))
    longest = text_tokens(own, one, needs)
    with pytest.raises(SettingsError, match=rf"^rollout.{setting}: .* of {longest} tokens"):
        usable_images(images, own, one, longest, needs)
    largest = max(ImageSizeCheck(own.image_processor).tokens(280, 168) or 0, 4)
    assert usable_images(images, own, one, longest + largest, needs).files
