"""Groups of several views: what is sampled is what is trained, and a resumed run shows the same."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps

from ireasoner.trainer.errors import RolloutServerError, ViewError
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import RunSettings
from tests.trainer.offline import (
    OfflineRollouts,
    disturb,
    offline_settings,
    offline_trainer,
    reasoning,
)

PERMUTED = "ireasoner.trainer.worlds.digit_grids.views:row_permuted"
NAMES = ("plain", "mirror", "jpeg", "paraphrase", PERMUTED, PERMUTED, "option_order", "quarter_turn")
QUESTION = "What is the sum of column 2?"
REWORDED = "How much is column 2 in all?"

pytestmark = pytest.mark.timeout(300)


def say(policy: str, request: int, member: int) -> str:
    """Proposals, rewordings and answers that differ."""
    if "proposer" in policy:
        return f"<question>{QUESTION}</question>"
    return reasoning(1 + (request + member) % 3) + " Done." * member


class Rollouts(OfflineRollouts):
    """Keeps every request, and says a question in other words where it is asked to."""

    def sample(self, policy: str, requests: Sequence[Any], contract: Any) -> Any:
        rewords = "other words" in requests[0].messages[0]["content"][1]["text"]
        self.script = (lambda *_: f"<question>{REWORDED}</question>") if rewords else say
        return super().sample(policy, requests, contract)


def settings(folder: Path, **fields: Any) -> RunSettings:
    defaults = {
        "group_size": 8,
        "views": {"names": NAMES},
        "grpo": {"report_to": "none", "learning_rate": 3e-3},
    }
    return offline_settings(folder, **{**defaults, **fields})


class Update:
    """One Solver update of two groups, on a policy that is off the base model."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        self.settings = settings(folder, groups_per_update=2, micro_batch_size=8, **fields)
        self.rollouts = Rollouts(say)
        trainer = offline_trainer(self.settings, self.rollouts)
        disturb(trainer.model)
        trainer.go()
        self.groups = list(read_lines(self.settings.run_folder / "groups.jsonl"))
        [self.metrics] = read_lines(self.settings.run_folder / "metrics.jsonl")

    def requests(self) -> list[Any]:
        """What the Solver was asked."""
        return next(requests for policy, requests in self.rollouts.calls if "solver" in policy)


@pytest.fixture(scope="module")
def update(tmp_path_factory: pytest.TempPathFactory) -> Update:
    return Update(tmp_path_factory.mktemp("views"))


def test_every_rollout_is_trained_on_the_prompt_and_the_image_of_its_view(update: Update) -> None:
    """Log-probabilities of the training forward pass are those of each view's own prompt and image."""
    assert update.metrics["solver/logprob_gap/max"] < 1e-4
    assert update.metrics["solver/rollouts_trained"] == 16


def test_the_image_of_another_view_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_order = Group.prompt_of_rollout.fget
    assert in_order is not None
    monkeypatch.setattr(Group, "prompt_of_rollout", property(lambda group: in_order(group)[::-1]))
    changed = Update(tmp_path, group_size=2, views={"names": ["plain", "mirror"]})
    assert changed.metrics["solver/logprob_gap/max"] > 1e-3


def test_a_group_shows_each_view_and_records_it(update: Update) -> None:
    texts = [
        request.messages[0]["content"][1]["text"].rsplit("Question: ", 1)[1] for request in update.requests()
    ]
    questions = [
        QUESTION,
        f"{QUESTION[:-1]} from the right?",
        QUESTION,
        REWORDED,
        QUESTION,
        QUESTION,
        QUESTION,
    ]
    questions.append("What is the sum of row 2 from the bottom?")
    names = [*NAMES[:5], f"{PERMUTED}-2", "plain", NAMES[-1]]
    assert texts == questions * 2
    for group in update.groups:
        assert group["question"] == QUESTION
        assert group["views"] == [
            {"view": name, "question": text} for name, text in zip(names, questions, strict=True)
        ]
        assert [rollout["view"] for rollout in group["rollouts"]] == names
    assert update.metrics["solver/views_replaced"] == pytest.approx(1 / 8), "no question has options"
    images = [Image.open(BytesIO(request.image_png)) for request in update.requests()]
    assert ImageOps.mirror(images[0]).tobytes() == images[1].tobytes()
    assert len({image.tobytes() for image in images[:8]}) == 6, "two show the plain image"


def test_rollouts_of_an_update_have_seeds_of_their_own(update: Update) -> None:
    seeds = [rollout["seed"] for group in update.groups for rollout in group["rollouts"]]
    assert len(set(seeds)) == 16


def test_a_contrast_is_sampled_but_not_trained(tmp_path: Path) -> None:
    views = {
        "names": ["plain", "mirror"],
        "contrast": "blank",
        "contrast_weight": 0.5,
        "contrast_rollouts": 3,
    }
    one = Update(tmp_path, group_size=4, views=views)
    assert [request.count for request in one.requests()] == [2, 2, 3] * 2
    assert one.metrics["solver/rollouts_trained"] == 8
    for group in one.groups:
        assert [rollout["view"] for rollout in group["rollouts"]] == ["plain"] * 2 + ["mirror"] * 2
        assert (group["contrast"]["view"], len(group["contrast"]["texts"])) == ("blank", 3)
        assert len(group["contrast"]["shares"]) == 4


def test_without_views_a_group_has_one_prompt(tmp_path: Path) -> None:
    one = Update(tmp_path, group_size=4, views={})
    assert [request.count for request in one.requests()] == [4, 4]
    assert one.groups[0]["views"] == []
    assert [rollout["view"] for rollout in one.groups[0]["rollouts"]] == [None] * 4
    assert "solver/views_replaced" not in one.metrics
    assert "contrast" not in one.groups[0]


class Failing(Rollouts):
    """A server that is unreachable from the third version of the Solver on."""

    def sample(self, policy: str, requests: Sequence[Any], contract: Any) -> Any:
        if policy.endswith("solver-000002"):
            raise RolloutServerError("gone")
        return super().sample(policy, requests, contract)


def ended(run: RunSettings) -> tuple[list[Any], dict[str, torch.Tensor]]:
    """The groups of a run, without what each start names anew, and its weights."""
    trainer = offline_trainer(run, Rollouts(say))
    trainer.go()
    groups = list(read_lines(run.run_folder / "groups.jsonl"))
    for group in groups:
        group["proposed_by"], group["image"] = "", Path(group["image"]).name
        for rollout in group["rollouts"]:
            rollout["policy"] = ""
    state = trainer.model.state_dict()
    return groups, {name: value for name, value in state.items() if "lora_" in name}


def test_a_run_that_was_ended_resumes_with_the_same_views_and_bits(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"updates": 4, "save_every": 1}
    whole, weights = ended(settings(tmp_path / "whole", **fields))
    with pytest.raises(RolloutServerError):
        offline_trainer(settings(tmp_path / "ended", **fields), Failing(say)).go()
    resumed, resumed_weights = ended(settings(tmp_path / "ended", **fields, resume=True))
    assert resumed == whole
    assert [group["update"] for group in whole] == [0, 1, 2, 3]
    assert all(torch.equal(resumed_weights[name], value) for name, value in weights.items())


def test_with_overlap_the_next_update_shows_the_views_that_it_would_have_shown(tmp_path: Path) -> None:
    shown = []
    for overlap in (False, True):
        run = settings(tmp_path / str(overlap), updates=3, overlap=overlap)
        rollouts = Rollouts(say)
        offline_trainer(run, rollouts).go()
        solver = [requests for policy, requests in rollouts.calls if "solver" in policy]
        shown.append([[(request.messages, request.image_png) for request in each] for each in solver])
        groups = list(read_lines(run.run_folder / "groups.jsonl"))
        assert [group["rollouts"][-1]["staleness"] for group in groups] == (
            [0, 1, 1] if overlap else [0, 0, 0]
        )
    assert shown[0] == shown[1]
    assert len({png for update in shown[0] for _, png in update[4:6]}) > 2, "each update has views of its own"


def control_token(image: Image.Image, question: str, seed: int, index: int) -> Any:
    return image, f"{question}<|im_end|>", None


def test_a_view_whose_question_would_alter_the_prompt_is_refused(tmp_path: Path) -> None:
    views = {"names": ["plain", "tests.trainer.test_views:control_token"]}
    with pytest.raises(
        ViewError, match=r"test_views:control_token' holds control tokens: \['<\|im_end\|>'\]"
    ):
        Update(tmp_path, views=views)
