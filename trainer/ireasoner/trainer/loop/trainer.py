"""The Proposer-Solver loop on TRL's GRPO.

One trainer, one optimizer, one backbone with two adapters: each update trains one role. Its groups are complete, with
rewards, before TRL sees a row (`collector`): TRL builds the image inputs of the training forward pass from the row's
prompt, so the question must be in it by then. Where a launcher started several processes, the first collects and
publishes, and each trains on its part of the rows (`ireasoner.trainer.loop.ranks`).

It departs from TRL in these places, each an override of one method:
    _generate_and_score_completions   takes in the groups of the update; which images those have is ours to say
    create_optimizer                  takes in both adapters
    _save_checkpoint                  writes it whole or not at all, with what the loop itself remembers
    log                               names each metric after the role that it belongs to; gives tables of samples texts
and in the passes and the loss of an update: see `ireasoner.trainer.loop.policy_update`.
"""

import logging
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOTrainer

from ireasoner.clients import RewardError
from ireasoner.trainer.adapters.backbone import lora_config, name_roles, placeholder_token_ids, stop_token_ids
from ireasoner.trainer.adapters.canary import Canary
from ireasoner.trainer.adapters.publisher import AdapterPublisher, version, write_adapter
from ireasoner.trainer.errors import (
    CheckpointError,
    ImagesError,
    RolloutServerError,
    StaleRolloutError,
    TrainerError,
)
from ireasoner.trainer.images import ImageFolder, read_image
from ireasoner.trainer.loop.collector import Collected, Collector
from ireasoner.trainer.loop.grpo_config import grpo_config
from ireasoner.trainer.loop.image_order import ImageOrder
from ireasoner.trainer.loop.kl import KlCoefficient
from ireasoner.trainer.loop.micro_batches import Batch
from ireasoner.trainer.loop.policy_update import PolicyUpdate
from ireasoner.trainer.loop.prefetch import Ahead
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.loop.reference_defects import PutBack
from ireasoner.trainer.monitoring.collapse_guard import CollapseGuard
from ireasoner.trainer.monitoring.question_diversity import RecentQuestions
from ireasoner.trainer.monitoring.time_shares import time_shares
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels
from ireasoner.trainer.rewards.variant import RewardVariant
from ireasoner.trainer.rollouts.busy_clock import IdleShare
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.prompts import text_of
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.rollout import SamplingContract
from ireasoner.trainer.run_folder.checkpoint import Checkpoints, LoopState, RandomState, read_state
from ireasoner.trainer.run_folder.run_folder import RunFolder, read_lines
from ireasoner.trainer.settings import ROLES, Role, RunSettings

logger = logging.getLogger(__name__)


class ProposerSolverTrainer(PolicyUpdate):
    """Trains both roles; see the module.

    Args:
        settings: The run.
        backbone: The base model, without adapters.
        processor: Its processor, padding on the left.
        images: What to ask about.
        rollouts: The rollout server.
        scorer: The reward server.
        run: Where everything is written.
        shadow: What measures groups against labels, where there are any.
        variant: What the Solver is trained on instead of its scores.
    """

    _name = "GRPO"

    def __init__(
        self,
        settings: RunSettings,
        *,
        backbone: Any,
        processor: Any,
        images: ImageFolder,
        rollouts: RolloutClient | RolloutReplicas,
        scorer: GroupScorer,
        run: RunFolder,
        shadow: ShadowLabels,
        variant: RewardVariant | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        if len(images.paths) < settings.groups_per_update:
            raise ImagesError(
                f"images: {images.folder} holds {len(images.paths)} images, fewer than the "
                f"{settings.groups_per_update} of one update (groups_per_update)"
            )
        self.run = run
        self.images = images
        self.kl_coefficients = {role: KlCoefficient(settings.kl) for role in ROLES}
        self.versions: dict[Role, int] = dict.fromkeys(ROLES, 0)
        self.checkpoints = Checkpoints(run.checkpoints, settings.keep_checkpoints)
        self._rollouts = rollouts
        self._scorer = scorer
        forbidden = placeholder_token_ids(backbone.config)
        stops = stop_token_ids(backbone.generation_config, processor.tokenizer)
        max_tokens: dict[Role, int] = {
            "solver": settings.rollout.solver_max_tokens,
            "proposer": settings.rollout.proposer_max_tokens,
        }
        defects = PutBack(settings.reference_defects, processor.tokenizer)
        self._contracts = {
            role: defects.contract(
                SamplingContract(
                    max_tokens=max_tokens[role],
                    temperature=settings.rollout.temperature,
                    forbidden_token_ids=forbidden,
                    stop_token_ids=stops,
                ),
                backbone.generation_config,
            )
            for role in ROLES
        }
        self._idle = IdleShare(rollouts.sampling)
        self._questions = RecentQuestions(settings.collapse.window)
        self._random = RandomState()
        self._ends_with: TrainerError | None = None
        vision_tower = settings.reference_defects.adapters_on_vision_tower
        config = lora_config(backbone, settings.lora, vision_tower=vision_tower)
        super().__init__(
            settings,
            defects,
            Ranks(),
            model=backbone,
            reward_funcs=[self.agreement],
            rollout_func=self._roll_out,
            args=grpo_config(settings),
            train_dataset=Dataset.from_dict(
                {"prompt": [""] * len(images.paths), "path": list(map(str, images.paths))}
            ),
            processing_class=processor,
            peft_config=config,
            callbacks=[_AfterUpdate(self), *defects.callbacks(), *callbacks],
        )
        self.remove_callback(PrinterCallback)
        name_roles(self.model, config)
        self.add_callback(
            CollapseGuard(settings.collapse, self.checkpoints, run.path, stops=settings.stop_on_collapse)
        )
        # Names of its own for each start of a run: a server that several runs use, one after the other or at once,
        # must never see one name twice.
        self.publisher = AdapterPublisher(
            rollouts,
            settings.adapters_folder or run.path / "adapters",
            prefix=f"{run.path.name}-{token_hex(3)}-",
            vision_tower=vision_tower,
            canary=self._canary(forbidden),
            canary_every=settings.rollout.canary_every,
            keep=2 if settings.overlap else 1,
        )
        collector = Collector(
            settings,
            images=ImageOrder(
                images.paths, settings.groups_per_update, settings.seed, shuffle=self.args.shuffle_dataset
            ),
            processor=processor,
            rollouts=rollouts,
            publisher=self.publisher,
            scorer=scorer,
            shadow=shadow,
            variant=variant,
            contracts=self._contracts,
        )
        self._ahead = Ahead(collector, self.publisher.policies, settings.updates, overlap=settings.overlap)

    def _canary(self, forbidden_token_ids: tuple[int, ...]) -> Canary | None:
        settings = self.settings
        # A policy with that defect is not served as it is trained.
        if not settings.rollout.canary_every or settings.reference_defects.adapters_on_vision_tower:
            return None
        return Canary(
            self._rollouts,
            self.processing_class,
            read_image(self.images.paths[0]),
            forbidden_token_ids=forbidden_token_ids,
            tolerance_nats=settings.rollout.canary_tolerance,
        )

    def publish(self, role: Role) -> str:
        """Hands the current adapter of `role` to the rollout server; returns the name it is served under."""
        with self._timed("publish"):
            return self.ranks.from_first(
                lambda: self.publisher.publish(self.model, role, self.versions[role])
            )

    def go(self) -> None:
        """Trains to the end: from the newest complete checkpoint if the settings say `resume`, else from the start."""
        newest = self.checkpoints.newest() if self.settings.resume else None
        if newest is None:
            self.ranks.from_first(lambda: self.run.cut_logs({}))
            self._train_from(None)
            return
        state = read_state(newest)
        update = state.update
        if update >= self.settings.updates:
            logger.warning("%s has had all its %d updates; nothing is left to train", self.run.path, update)
            self._load_from_checkpoint(str(newest))
            return
        self.versions = dict(state.versions)
        for role, coefficient in self.kl_coefficients.items():
            coefficient.beta = state.kl_betas[role]
        self._defects.baselines = dict(state.moving_baselines)
        self._scorer.fingerprint = state.fingerprint
        self.ranks.from_first(lambda: self.run.cut_logs(state.log_bytes))
        self._remember_questions()
        self._train_from(str(newest))

    def _train_from(self, checkpoint: str | None) -> None:
        self.train(resume_from_checkpoint=checkpoint)
        if self._ends_with is not None:
            raise self._ends_with

    def _remember_questions(self) -> None:
        """Takes in what a run that goes on has asked so far."""
        solver = (group for group in read_lines(self.run.groups) if group["role"] == "solver")
        for _, groups in groupby(solver, key=lambda group: int(group["update"])):
            self._questions.add([group["question"] for group in groups])

    # What TRL calls, in the order of an update.

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> Batch:
        update = self.state.global_step
        self.role = self.settings.role_at(update)
        self.accelerator.unwrap_model(self.model).set_adapter(self.role)
        self._take(update)
        rows = [
            {"prompt": group.messages, "image": group.picture}
            for group in self._groups
            for _ in range(self.num_generations)
        ]
        # Where beta is 0, TRL makes no reference pass: it would make one of every row, before rewards are known.
        self.beta = 0.0
        output: Batch = super()._generate_and_score_completions(self.ranks.own(rows))
        self.beta = self.kl_coefficients[self.role].beta
        output["advantages"] = self._defects.advantages(self.role, self._groups, output["advantages"])
        return output

    def _roll_out(self, prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
        own = self.ranks.own([rollout for group in self._groups for rollout in group.rollouts])
        completions = [self._defects.completion(one.text, one.token_ids, one.logprobs) for one in own]
        return {
            "prompt_ids": [list(rollout.prompt_token_ids) for rollout in own],
            "completion_ids": [token_ids for token_ids, _ in completions],
            "logprobs": [logprobs for _, logprobs in completions],
        }

    def agreement(self, **_: Any) -> list[float | None]:
        """The reward of each rollout of the update, in TRL's order; None where there is none to be had."""
        return self.ranks.own([reward for group in self._groups for reward in group.rewards])

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """One optimizer over both adapters; in each update only the active one has gradients, and only it moves."""
        for name, parameter in self.model.named_parameters():
            if "lora_" in name:
                parameter.requires_grad_(True)
        # The role is made active at its update: what wraps the model for several processes must know both.
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        return optimizer

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        state = LoopState(
            update=self.state.global_step,
            versions=self.versions,
            kl_betas={role: coefficient.beta for role, coefficient in self.kl_coefficients.items()},
            moving_baselines=self._defects.baselines,
            fingerprint=self._scorer.fingerprint,
            log_bytes=self.run.log_bytes(),
        )
        folder = self.args.output_dir
        with self._writing(state) as partial:
            self.args.output_dir = str(partial)
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self.args.output_dir = folder

    @contextmanager
    def _writing(self, state: LoopState) -> Iterator[Path]:
        """Where the checkpoint is written to: by the first process, but for the random state that each has."""
        if not self.ranks.is_first:
            self.ranks.wait()
            yield self.checkpoints.partial
            self.ranks.wait()
            return
        with self.checkpoints.writing(state.update, state) as partial:
            self.ranks.wait()
            yield partial
            self.ranks.wait()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs an update's metrics under the name of the role that it trained."""
        if "loss" in logs:
            metrics = self._metrics["train"]
            for name, share in time_shares(metrics, overlap=self.settings.overlap).items():
                metrics[name] = [share]
            metrics["rollout_idle_share"] = [self._idle.read()]
            self._metrics["train"] = defaultdict(
                list, {f"{self.role}/{name}": values for name, values in metrics.items()}
            )
            for name in list(logs):
                if name != "epoch":
                    logs[f"{self.role}/{name}"] = logs.pop(name)
            # A table of Weights & Biases holds no messages whose parts have different keys.
            for name in ("prompt", "completion"):
                said = self._logs[name]
                self._logs[name] = deque(map(text_of, said), said.maxlen)
        super().log(logs, start_time)

    # The parts of an update.

    def _take(self, update: int) -> None:
        """Takes in the groups of the update, and writes down what they are."""
        with self._timed("wait"):
            try:
                collected = self.ranks.from_first(lambda: self._ahead.take(update))
            except (TrainerError, RewardError):
                self._save_what_is_done()
                raise
        self._groups = collected.groups
        for name, values in collected.metrics.items():
            self._metrics["train"][name] += values
        self._bound_staleness(update)
        for group in self._groups:
            self.run.append_group(self._line(collected, group))
        if self.role == "solver":
            for name, figure in self._questions.add([group.question for group in self._groups]).items():
                self._metric(name, figure)
        flat = [group for group in self._groups if group.has_reward and not group.has_spread]
        self._metric("no_spread_rate", len(flat) / len(self._groups))
        unjudged = [group for group in self._groups if not group.has_reward]
        self._metric("no_reward_rate", len(unjudged) / len(self._groups))

    def _line(self, collected: Collected, group: Group) -> dict[str, Any]:
        return {
            "update": collected.update,
            "role": collected.role,
            "image": str(group.path),
            "question": group.question,
            "progress": self.settings.progress_at(collected.update),
            "fingerprint": collected.fingerprint,
            "sampling": asdict(self._contracts[collected.role]),
            "trained_on": group.rewards,
            "has_spread": group.has_spread,
            **group.record,
        }

    def _bound_staleness(self, update: int) -> None:
        """Refuses rollouts that are further behind the policy than the settings allow."""
        for group in self._groups:
            group.staleness = self.versions[self.role] - version(group.rollouts[0].policy)
            for rollout in group.record["rollouts" if self.role == "solver" else "proposals"]:
                rollout["staleness"] = group.staleness
        behind = [group.staleness for group in self._groups]
        self._metric("staleness/mean", sum(behind) / len(behind))
        self._metric("staleness/max", max(behind))
        allowed = max(self.settings.rollout.max_staleness, int(self.settings.overlap))
        if max(behind) > allowed:
            raise StaleRolloutError(
                f"update {update}: rollouts of the {self.role} are {max(behind)} updates behind it; "
                f"rollout.max_staleness is {allowed}"
            )

    def after_update(self) -> None:
        """Steers the KL coefficient and publishes the adapter that was trained, if there was anything to learn."""
        kl = self._metrics["train"].get("kl", [])
        coefficient = self.kl_coefficients[self.role]
        self._metric("kl_coefficient", coefficient.beta)
        if not self._passes:
            return
        if kl:
            coefficient.observe(sum(kl) / len(kl))
        self.versions[self.role] += 1
        self.publish(self.role)

    def remember_random_state(self) -> None:
        """Keeps what a checkpoint of this moment would hold of random numbers."""
        self._random = RandomState()

    def _save_what_is_done(self) -> None:
        """Saves a run that has to end early, as it was when its last update ended."""
        update = self.state.global_step

        def is_saved() -> bool:
            newest = self.checkpoints.newest()
            return update == 0 or (newest is not None and read_state(newest).update == update)

        if not self.ranks.from_first(is_saved):
            self._random.restore()
            try:
                self._save_checkpoint(self.model, None)
            except CheckpointError as error:
                logger.warning("%s", error)
                return
        if update:
            logger.warning(
                "the run ends early; it is saved with %d updates, and goes on with --resume", update
            )

    def end_early(self, error: TrainerError, control: TrainerControl) -> None:
        """Has the update that just ended logged and saved, before `error` ends the run."""
        self._ends_with = error
        control.should_log = control.should_save = control.should_training_stop = True
        logger.warning("the run ends early, and goes on with --resume")

    def close(self) -> None:
        """Gives up what is collected for an update that will not come."""
        self._ahead.close()

    def write_final(self) -> None:
        """Writes both adapters to the run folder."""
        if not self.ranks.is_first:
            return
        self.run.final.mkdir(exist_ok=True)
        for role in ROLES:
            write_adapter(
                self.model,
                role,
                self.run.final / role,
                vision_tower=self.settings.reference_defects.adapters_on_vision_tower,
            )

    def _timed(self, name: str) -> "_Timer":
        return _Timer(self._metrics["train"][f"seconds/{name}"])


class _Timer:
    def __init__(self, seconds: list[float]) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._start_s = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._seconds.append(time.monotonic() - self._start_s)


class _AfterUpdate(TrainerCallback):  # type: ignore[misc]
    def __init__(self, trainer: ProposerSolverTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, *_: object, **__: object) -> None:
        for role in ROLES:
            self._trainer.publish(role)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        try:
            self._trainer.after_update()
        except RolloutServerError as error:
            self._trainer.end_early(error, control)
        self._trainer.remember_random_state()

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        logs = kwargs["logs"]
        if any(name.startswith(ROLES) for name in logs):
            self._trainer.run.append_metrics(
                {"update": state.global_step, "role": self._trainer.role, **logs}
            )
