"""The loop without servers: a test scripts rollouts and rewards; TRL, peft and the tiny model are real.

Log-probabilities are those of the published adapter files, computed by transformers, one rollout at a time.
"""

import copy
import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from PIL import Image
from rich.console import Console
from transformers import TrainerCallback, TrainerState

from ireasoner.clients import Group as PostedGroup
from ireasoner.clients import RewardClient, ScoredGroup, ScoredRollout, ScoreResponse
from ireasoner.trainer.adapters.architecture import IMAGE_INPUTS, TOKEN_TYPES
from ireasoner.trainer.adapters.backbone import load_backbone, load_processor
from ireasoner.trainer.evaluation.questions import parse_answer
from ireasoner.trainer.images import open_images
from ireasoner.trainer.loop.assembly import Assembly
from ireasoner.trainer.loop.grpo_config import grpo_config
from ireasoner.trainer.loop.policy_backbone import policy_backbone
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rewards.needs import NOTHING, Needs
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels, load_labels
from ireasoner.trainer.rollouts.busy_clock import BusyClock
from ireasoner.trainer.rollouts.rollout import Rollout, RolloutRequest, SamplingContract
from ireasoner.trainer.run_folder.run_folder import RunFolder
from ireasoner.trainer.settings import RunSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from tests.conftest import MODEL

QUESTION = "What is the sum of row 2?"

Script = Callable[[str, int, int], str]
"""Returns a policy's text from its served name, the index of the request and the member of the group."""


def reasoning(answer: object) -> str:
    """A Solver's text with this answer."""
    return f"<think>\nStep 1: Row 2 reads 3, 1, 3.\nStep 2: 3 + 1 = 4.\n</think>\n<answer>{answer}</answer>"


def answers(*groups: Sequence[Any]) -> Script:
    """A Solver with these answers, one sequence per group, and a Proposer with one question."""

    def say(policy: str, request: int, member: int) -> str:
        if "proposer" in policy:
            return f"<question>{QUESTION}</question>"
        return reasoning(groups[request][member])

    return say


@cache
def _tiny_model() -> tuple[Any, Any]:
    """Backbone and processor of the tiny model, which are read once per process and only copied."""
    return load_backbone(str(MODEL), "float32"), load_processor(str(MODEL))


def backbone_of(model: str) -> Any:
    """A backbone of its own for each caller, who puts adapters into it."""
    return copy.deepcopy(_tiny_model()[0]) if model == str(MODEL) else load_backbone(model, "float32")


def processor_of(model: str) -> Any:
    """A processor of its own for each caller."""
    return copy.deepcopy(_tiny_model()[1]) if model == str(MODEL) else load_processor(model)


class OfflineRollouts:
    """A fake `RolloutClient`.

    Args:
        script: The text of each rollout.
        offset_nats: Added to each log-probability, as another precision might.
        model: The base model.
    """

    base_url = "offline"

    def __init__(self, script: Script, offset_nats: float = 0.0, model: str = str(MODEL)) -> None:
        self.script = script
        self.offset_nats = offset_nats
        self.calls: list[tuple[str, list[RolloutRequest]]] = []
        self.contracts: list[SamplingContract] = []
        self.sampling = BusyClock()
        self._processor = processor_of(model)
        self._backbone = backbone_of(model).eval()
        self._policy: PeftModel | None = None
        self._served: list[str] = []

    @property
    def members(self) -> tuple["OfflineRollouts"]:
        return (self,)

    def models(self) -> list[str]:
        return ["base", *self._served]

    def load_adapter(self, name: str, path: str) -> None:
        with torch.random.fork_rng():  # a server's random state is its own
            if self._policy is None:
                self._policy = PeftModel.from_pretrained(self._backbone, path, adapter_name=name).eval()
            else:
                self._policy.load_adapter(path, adapter_name=name)
        self._served.append(name)

    def unload_adapter(self, name: str) -> None:
        self._served.remove(name)

    def sample(
        self, policy: str, requests: Sequence[RolloutRequest], contract: SamplingContract
    ) -> list[list[Rollout]]:
        assert policy in self._served
        assert self._policy is not None
        self._policy.set_adapter(policy)
        self.calls.append((policy, list(requests)))
        self.contracts.append(contract)
        return [
            [self._one(policy, request, number, member, contract) for member in range(request.count)]
            for number, request in enumerate(requests)
        ]

    def inputs(self, request: RolloutRequest) -> Any:
        """The prompt of a request, for the policy."""
        prompt = self._processor.apply_chat_template(
            request.messages, tokenize=False, add_generation_prompt=True
        )
        return self._processor(images=[_picture(request)], text=[prompt], return_tensors="pt")

    def _one(
        self, policy: str, request: RolloutRequest, number: int, member: int, contract: SamplingContract
    ) -> Rollout:
        text = self.script(policy, number, member)
        tokenizer = self._processor.tokenizer
        # A policy writes `<|im_end|>` in ordinary tokens: those of its own are forbidden, or end the completion.
        written = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        ids = [*written, tokenizer.eos_token_id]
        inputs = self.inputs(request)
        logprobs = token_logprobs(
            self._policy,
            inputs["input_ids"][0],
            torch.tensor(ids),
            contract,
            **{name: value for name, value in inputs.items() if name in IMAGE_INPUTS},
        )
        return Rollout(
            text=text,
            token_ids=tuple(ids),
            logprobs=tuple((logprobs + self.offset_nats).tolist()),
            prompt_token_ids=tuple(inputs["input_ids"][0].tolist()),
            finish_reason="stop",
            policy=policy,
            seed=request.seed + member,
        )


def token_logprobs(
    model: Any,
    prompt: torch.Tensor,
    completion: torch.Tensor,
    contract: SamplingContract | None = None,
    **image: torch.Tensor,
) -> torch.Tensor:
    """Log-probability of each completion token under the contract (default: the model's own), shape (tokens,)."""
    ids = torch.cat([prompt, completion])[None]
    types = {
        name: torch.cat([image.pop(name), completion.new_zeros(1, len(completion))], dim=1)
        for name in TOKEN_TYPES
        if name in image
    }
    with torch.no_grad():
        logits = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **types,
            **image,
        ).logits
    logits = logits[0, len(prompt) - 1 : -1]
    if contract is not None:
        logits[:, list(contract.forbidden_token_ids)] = -torch.inf
        logits /= contract.temperature
    logprobs = logits.log_softmax(-1)
    chosen: torch.Tensor = logprobs.gather(1, completion[:, None])[:, 0]
    return chosen


class OfflineRewards:
    """A fake `RewardClient`: the reward is a tenth of the answer, and what is no number cannot be judged."""

    def __init__(self) -> None:
        self.posts: list[int] = []
        self.takes_images = True

    def put_image(self, image: bytes) -> str:
        return hashlib.sha256(image).hexdigest()

    def score(self, endpoint: str, groups: Sequence[PostedGroup], **_: Any) -> ScoreResponse:
        self.posts.append(len(groups))
        return ScoreResponse("r", "f", tuple(self._group(endpoint, group) for group in groups))

    def _group(self, endpoint: str, group: PostedGroup) -> ScoredGroup:
        rollouts = []
        for rollout in group.rollouts:
            answer = parse_answer(rollout.text or "")
            reward = int(answer) / 10 if answer is not None and answer.isdecimal() else None
            status: Any = "abstain" if reward is None else "ok"
            rollouts.append(ScoredRollout(rollout.id, status, None, answer, reward, reward, None, ()))
        known = [rollout.reward for rollout in rollouts if rollout.reward is not None]
        mean = sum(known) / len(known) if known else None
        scored = () if endpoint == "proposer" else tuple(rollouts)
        return ScoredGroup(
            group.id, "ok", None, False, 0.5, 0.5, mean, mean if endpoint == "proposer" else None, (), scored
        )


def offline_settings(
    folder: Path, settings_class: type[RunSettings] = RunSettings, **fields: Any
) -> RunSettings:
    """A run of one Solver update with groups of 4, unless `fields` change it; all images are equal."""
    images = folder / "images"
    if not images.exists():
        write_unlabelled(images, 1, seed=3)
        [image] = images.iterdir()
        for copy in range(7):
            (images / f"copy{copy}.png").write_bytes(image.read_bytes())
    defaults: dict[str, Any] = {
        "model": str(MODEL),
        "images": images,
        "run_folder": folder / "run",
        "updates": 1,
        "proposer_every": 0,
        "group_size": 4,
        "cpu_threads": 1,
        "lora": {"dropout": 0.0},
        "kl": {"mode": "fixed", "beta": 0.04},
        "rollout": {"canary_every": 0},  # scripted texts are not greedy
        "grpo": {"learning_rate": 3e-3, "report_to": "none"},
    }
    return settings_class(**{**defaults, **fields})


def offline_trainer(
    settings: RunSettings,
    rollouts: Any,
    callbacks: Sequence[TrainerCallback] = (),
    rewards: OfflineRewards | RewardClient | None = None,
    on_wait: Callable[[str], None] = lambda _: None,
    assembly: type[Assembly] = Assembly,
    needs: Needs = NOTHING,
    *,
    sharded: bool = False,
) -> ProposerSolverTrainer:
    """The trainer of a run, ready to go."""
    client: Any = rewards or OfflineRewards()
    torch.set_num_threads(1)
    grpo_config(settings)  # it tells accelerate what machine this is, before anything else asks
    ranks = Ranks()
    run = ranks.from_first(lambda: RunFolder(settings))
    run.writes = ranks.is_first
    return assembly(
        settings=settings,
        backbone=(
            policy_backbone(settings.model, "float32", ranks, Console(), sharded=True)
            if sharded
            else backbone_of(settings.model)
        ),
        processor=processor_of(settings.model),
        images=ranks.from_first(lambda: open_images(settings.images, settings.data)),
        rollouts=rollouts,
        scorer=GroupScorer(
            client,
            settings.reward,
            settings.seed,
            source=settings.source,
            retry_budget_s=settings.retry_budget_s,
            on_wait=on_wait,
        ),
        run=run,
        shadow=ShadowLabels(load_labels(settings.labels)),
        needs=needs,
    ).trainer(callbacks)


def disturb(policy: Any, role: str = "solver") -> None:
    """Moves one role's adapter off the base model."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in policy.named_parameters():
        if f".{role}." in name:
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)


class Gradients(TrainerCallback):  # type: ignore[misc]
    """Records the gradient of each update, by parameter, without parameters that have none."""

    def __init__(self) -> None:
        self.updates: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, *_: Any, **kwargs: Any) -> None:
        self.updates.append(
            {
                name: parameter.grad.clone()
                for name, parameter in kwargs["model"].named_parameters()
                if parameter.grad is not None
            }
        )


class Strike(TrainerCallback):  # type: ignore[misc]
    """Strikes in an update, when its groups are logged and its gradient is computed.

    Args:
        updates: Number of updates before the one that is struck.
        blow: What then happens.
    """

    def __init__(self, updates: int, blow: Callable[[], None]) -> None:
        self._updates = updates
        self._blow = blow

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, *_: Any, **__: Any) -> None:
        if state.global_step == self._updates:
            self._blow()


def _picture(request: RolloutRequest) -> Image.Image:
    assert request.image_png is not None
    return Image.open(BytesIO(request.image_png)).convert("RGB")
