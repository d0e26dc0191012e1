"""A dry run adds up the tokens of a run, and divides them by a stated throughput."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from ireasoner.trainer.commands.dry_run import show_plan
from ireasoner.trainer.commands.image_plan import ImagePlan, image_plan
from ireasoner.trainer.commands.time_plan import time_plan
from ireasoner.trainer.settings import RunSettings
from tests.conftest import MODEL

QUIET = Console(quiet=True)
SPEED = {"rollout_tokens_per_s": 50.0, "trained_tokens_per_s": 20.0}


def settings(folder: Path, **fields: Any) -> RunSettings:
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for index in range(3):
        Image.new("RGB", (84, 84)).save(images / f"{index}.png")
    given = {
        "model": str(MODEL),
        "images": images,
        "run_folder": folder / "run",
        "updates": 7,
        "proposer_every": 2,
        "group_size": 4,
        "groups_per_update": 3,
        "proposer_groups_per_update": 2,
        "rollout": {"solver_max_tokens": 64, "proposer_max_tokens": 24},
    }
    return RunSettings(**{**given, **fields})


def prompts(images: ImagePlan) -> tuple[float, float]:
    """Tokens of a prompt of the Solver and of the Proposer, with its image."""
    assert images.mean_tokens is not None
    return (
        images.prompt_tokens["solver"] + images.mean_tokens,
        images.prompt_tokens["proposer"] + images.mean_tokens,
    )


def test_the_tokens_of_both_roles_are_added_up(tmp_path: Path) -> None:
    """Seven updates: five of the Solver on three images, two of the Proposer on two."""
    of = settings(tmp_path)
    images = image_plan(of, QUIET)
    solver, proposer = prompts(images)

    shared = time_plan(of, images, packed=True)
    assert shared.sampled_tokens == 5 * 3 * (24 + 4 * 64) + 2 * 2 * 4 * (24 + 4 * 64)
    assert shared.trained_tokens == 5 * 3 * (solver + 4 * 64) + 2 * 2 * (proposer + 4 * 24)

    apart = time_plan(of, images, packed=False)
    assert apart.trained_tokens == 5 * 3 * 4 * (solver + 64) + 2 * 2 * 4 * (proposer + 24)


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ({"views": {"names": ("plain", "mirror")}}, 0),
        ({"views": {"names": ("plain", "mirror"), "contrast": "blank"}}, 2 * 64),
        (
            {"views": {"names": ("plain", "paraphrase"), "contrast": "blank", "contrast_rollouts": 3}},
            3 * 64 + 24,
        ),
        ({"reward": {"voters": "paraphrase"}}, 4 * 64 + 24),
        ({"reward": {"voters": "teacher"}}, 4 * 64),
    ],
    ids=["views", "contrast", "paraphrased view", "paraphrase", "teacher"],
)
def test_what_else_is_sampled_for_the_solver_counts(
    tmp_path: Path, fields: dict[str, Any], more: int
) -> None:
    plain, of = settings(tmp_path), settings(tmp_path, **fields)
    before = time_plan(plain, image_plan(plain, QUIET), packed=True)
    found = time_plan(of, image_plan(of, QUIET), packed=True)
    assert found.sampled_tokens - before.sampled_tokens == 5 * 3 * more


def test_each_view_has_a_prompt(tmp_path: Path) -> None:
    plain, of = settings(tmp_path), settings(tmp_path, views={"names": ("plain", "mirror")})
    images = image_plan(plain, QUIET)
    one, two = (time_plan(each, images, packed=True).trained_tokens for each in (plain, of))
    assert one is not None
    assert two is not None
    assert two - one == 5 * 3 * prompts(images)[0]


@pytest.mark.parametrize(
    ("micro_batch_size", "solver_prompts", "proposer_prompts"),
    [
        (12, 6, 2),
        (6, 6, 2),  # the Proposer's eight rollouts are cut into four and four
        (4, 6, 2),
        (
            3,
            8,
            4,
        ),  # the Solver's passes start at 0, 3, 6, 9 and its prompts at each 2; the Proposer's 3, 3, 2
        (2, 6, 4),
        (1, 12, 8),
    ],
)
def test_a_prompt_counts_in_every_pass_that_has_a_rollout_of_it(
    tmp_path: Path, micro_batch_size: int, solver_prompts: int, proposer_prompts: int
) -> None:
    """The Solver's twelve rollouts are of six prompts, the Proposer's eight of two."""
    of = settings(tmp_path, views={"names": ("plain", "mirror")}, micro_batch_size=micro_batch_size)
    images = image_plan(of, QUIET)
    solver, proposer = prompts(images)
    completions = 5 * 12 * 64 + 2 * 8 * 24
    found = time_plan(of, images, packed=True).trained_tokens
    assert found == completions + 5 * solver_prompts * solver + 2 * proposer_prompts * proposer


def test_the_time_is_the_sum_of_both_parts(tmp_path: Path) -> None:
    of = settings(tmp_path, throughput=SPEED)
    found = time_plan(of, image_plan(of, QUIET), packed=True)
    assert found.trained_tokens is not None
    assert found.seconds == pytest.approx(found.sampled_tokens / 50 + found.trained_tokens / 20)


@pytest.mark.parametrize("trained_tokens_per_s", [1.0, 20.0, 1e6])
def test_with_overlap_each_update_is_trained_while_the_next_is_sampled(
    tmp_path: Path, trained_tokens_per_s: float
) -> None:
    """Updates are of the roles S S P S S P S."""
    speed = {**SPEED, "trained_tokens_per_s": trained_tokens_per_s}
    of = settings(tmp_path, throughput=speed, overlap=True)
    images = image_plan(of, QUIET)
    solver, proposer = prompts(images)
    sample = {"s": 3 * (24 + 4 * 64) / 50, "p": 2 * 4 * (24 + 4 * 64) / 50}
    train = {
        "s": 3 * (solver + 4 * 64) / trained_tokens_per_s,
        "p": 2 * (proposer + 4 * 24) / trained_tokens_per_s,
    }
    seconds = sample["s"] + train["s"]
    for one, following in ("ss", "sp", "ps", "ss", "sp", "ps"):
        seconds += max(train[one], sample[following])
    assert time_plan(of, images, packed=True).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("unknown", "what"), [({}, "tokenizer"), ({"mean_tokens": None}, "preprocessor_config.json")]
)
def test_what_is_missing_of_the_model_is_named_and_not_the_throughput(
    tmp_path: Path, unknown: dict[str, Any], what: str
) -> None:
    of = settings(tmp_path, throughput=SPEED)
    images = replace(image_plan(of, QUIET), prompt_tokens={}, text_tokens=None, **unknown)
    rows = dict(time_plan(of, images, packed=True).rows)
    assert rows["tokens trained in the run, at most"] == f"not known without a {what}"
    assert rows["time, estimated, at most"] == f"not known without a {what}"


@pytest.mark.parametrize("speed", [{}, {"rollout_tokens_per_s": 5}, {"trained_tokens_per_s": 5}])
def test_without_a_throughput_a_dry_run_says_what_to_state(tmp_path: Path, speed: dict[str, float]) -> None:
    shown = io.StringIO()
    show_plan(settings(tmp_path, throughput=speed), Console(file=shown, width=200))
    [line] = [line for line in shown.getvalue().splitlines() if "time, estimated" in line]
    assert "state throughput.rollout_tokens_per_s and throughput.trained_tokens_per_s for an estimate" in line


@pytest.mark.parametrize(
    ("rate", "shown"), [(1e9, "0 s"), (300.0, "22 s"), (1.0, "1 h 48 min"), (0.05, "1 d 12 h")]
)
def test_the_time_is_shown_in_the_units_that_fit(tmp_path: Path, rate: float, shown: str) -> None:
    speed = {"rollout_tokens_per_s": rate, "trained_tokens_per_s": 1e12}
    of = settings(tmp_path, updates=1, throughput={**speed}, rollout={"solver_max_tokens": 508})
    rows = dict(time_plan(of, image_plan(of, QUIET), packed=True).rows)
    assert rows["tokens sampled in the run, at most"] == "6,480"
    assert rows["time, estimated, at most"] == shown


def test_a_throughput_is_no_part_of_the_experiment(tmp_path: Path) -> None:
    assert settings(tmp_path, throughput=SPEED).experiment == settings(tmp_path).experiment
