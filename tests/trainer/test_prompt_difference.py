"""A prompt that differs is explained before any log-probability is compared."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ireasoner.trainer.adapters.backbone import load_backbone, load_processor, lora_config, name_roles
from ireasoner.trainer.adapters.canary import Canary
from ireasoner.trainer.errors import RolloutMismatchError
from ireasoner.trainer.images import read_image
from ireasoner.trainer.rollouts.prompt_difference import prompt_difference
from ireasoner.trainer.rollouts.rollout import Rollout
from ireasoner.trainer.settings import LoraSettings
from tests.conftest import MODEL
from tests.trainer.offline import OfflineRollouts, answers, offline_settings, offline_trainer

IMAGE = 441
BOUND, TEMPLATE = "the image bound differs", "the chat template or the tokenizer differs"


@pytest.fixture(scope="module")
def processor() -> Any:
    return load_processor(str(MODEL))


@pytest.mark.parametrize(
    ("served", "own", "cause"),
    [
        ([1, IMAGE, IMAGE, 2], [1, IMAGE, 2], f"{BOUND}: the image has 2 tokens in .* server's prompt and 1 in the"),
        ([1, IMAGE, 2], [1, *[IMAGE] * 9, 2], f"{BOUND}: the image has 1 tokens in .* server's prompt and 9 in the"),
        ([1, 2], [1, IMAGE, 2], f"{BOUND}: the image has 0 tokens"),
        ([1, IMAGE, 2], [1, IMAGE, 3], f"{TEMPLATE}: token 2 of the prompt .* is 2 .*server.* and 3 "),
        ([1, IMAGE, IMAGE, 2], [1, IMAGE, 3], f"{TEMPLATE}: token 2 "),
        ([1, IMAGE, 2, 4], [1, IMAGE, 2], rf"{TEMPLATE}: token 3 .* is 4 .*\(4 tokens\) and missing in the trainer"),
        ([1, IMAGE], [1, IMAGE, 2], rf"{TEMPLATE}: token 2 .* is missing in .* and 2 .*\(3 tokens\)"),
        ([0, 1, IMAGE, 2], [1, IMAGE, 2], f"{TEMPLATE}: token 0 "),
        ([IMAGE, 1, 2], [1, IMAGE, 2], f"{TEMPLATE}: token 0 "),
        ([], [1], f"{TEMPLATE}: token 0 .* is missing"),
    ],
)  # fmt: skip
def test_the_cause_is_named(processor: Any, served: Sequence[int], own: Sequence[int], cause: str) -> None:
    with pytest.raises(AssertionError, match=cause):
        raise AssertionError(prompt_difference(served, own, processor))


@pytest.mark.parametrize("served", [(), (1, IMAGE, 2), [1, IMAGE, 2]])
def test_equal_prompts_do_not_differ(processor: Any, served: Sequence[int]) -> None:
    assert prompt_difference(served, list(served), processor) is None


class AnotherPrompt(OfflineRollouts):
    """A server with other prompts, and log-probabilities that are wrong too.

    Args:
        images: Image tokens that it adds.
        tail: What it appends.
    """

    def __init__(self, images: int, tail: tuple[int, ...] = ()) -> None:
        super().__init__(answers((1, 2, 4, 9)), offset_nats=5.0)
        self._images = images
        self._tail = tail

    def _one(self, *arguments: Any) -> Rollout:
        rollout = super()._one(*arguments)
        ids = rollout.prompt_token_ids
        first = ids.index(IMAGE)
        return replace(
            rollout, prompt_token_ids=(*ids[:first], *[IMAGE] * self._images, *ids[first:], *self._tail)
        )

    def engines(self) -> int:
        return 1

    def sample(self, policy: str, requests: Any, contract: Any, _engine: int | None = None) -> Any:
        return super().sample(policy, requests, contract)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("images", "tail", "cause"), [(3, (), BOUND), (0, (7,), TEMPLATE), (3, (7,), TEMPLATE)]
)
def test_the_canary_compares_prompts_before_log_probabilities(
    tmp_path: Path, processor: Any, images: int, tail: tuple[int, ...], cause: str
) -> None:
    from peft import get_peft_model

    backbone = load_backbone(str(MODEL), "float32").eval()
    config = lora_config(backbone, LoraSettings(dropout=0.0))
    policy = get_peft_model(backbone, config)
    name_roles(policy, config)
    policy.save_pretrained(str(tmp_path), selected_adapters=["solver"])
    server = AnotherPrompt(images, tail)
    server.load_adapter("solver-000001", str(tmp_path / "solver"))
    settings = offline_settings(tmp_path)
    picture = read_image(next(settings.images.iterdir()))
    canary = Canary(server, processor, picture, forbidden_token_ids=(), tolerance_nats=0.1)  # type: ignore[arg-type]
    with pytest.raises(RolloutMismatchError, match=rf"offline \(engine 0\): {cause}"):
        canary.check(policy, "solver", "solver-000001")


@pytest.mark.timeout(300)
def test_the_collector_names_the_image_and_the_cause(tmp_path: Path) -> None:
    with pytest.raises(RolloutMismatchError, match=rf"copy\d\.png: {BOUND}"):
        offline_trainer(offline_settings(tmp_path), AnotherPrompt(2)).go()
