"""The Proposer-Solver loop on TRL's GRPO.

One trainer, one optimizer, one backbone with two adapters; each update trains one role. Its groups are complete, with
rewards, before TRL sees a row (`collector`): TRL builds the image inputs of the training forward pass from the row's
prompt, so the question must be in it by then. If a launcher started several processes, the first one collects and
publishes, and each trains on its part of the rows (`ranks`).

Whatever ends a run, `go` saves it as its last whole update left it. Signals wait for the end of an update, except where
the run waits for servers, and in the forward and backward passes of a single process.

Besides the points of `policy_update`, it departs from TRL in four:
    the groups of an update come from the collector, not from TRL's sampler
    the optimizer holds both adapters
    a checkpoint is written whole or not at all, with the state of the loop
    each metric is logged under the name of the role that was trained
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import GRPOConfig, GRPOTrainer

from ireasoner.audit.questions import RecentQuestions
from ireasoner.trainer.adapters.backbone import name_roles
from ireasoner.trainer.adapters.publisher import AdapterPublisher, version
from ireasoner.trainer.adapters.teacher import TEACHER, SlowTeacher
from ireasoner.trainer.errors import CheckpointError, RunInterrupted, StaleRolloutError
from ireasoner.trainer.evaluation.evaluation_file import forget_after
from ireasoner.trainer.loop.collected import Collected
from ireasoner.trainer.loop.kl import KlCoefficient
from ireasoner.trainer.loop.moving_baseline import MovingBaseline
from ireasoner.trainer.loop.policy_update import PolicyUpdate
from ireasoner.trainer.loop.prefetch import Prefetch
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.loop.role_schedule import role_at
from ireasoner.trainer.loop.stop_signals import StopSignals
from ireasoner.trainer.loop.trl_internals import Batch
from ireasoner.trainer.loop.whole_update import WholeUpdate
from ireasoner.trainer.monitoring.time_shares import time_shares
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rollouts.busy_clock import IdleShare
from ireasoner.trainer.rollouts.group import Group
from ireasoner.trainer.rollouts.prompts import text_of
from ireasoner.trainer.rollouts.rollout import Rollout
from ireasoner.trainer.run_folder.checkpoint import Checkpoints, LoopState, RandomState, read_state
from ireasoner.trainer.run_folder.run_folder import RunFolder, read_lines
from ireasoner.trainer.settings import ROLES, AdapterName, Role, RunSettings

logger = logging.getLogger(__name__)

_MOST_ROWS = 2**20
"""Empty rows in TRL, one per image of an epoch, at most; a stream can have hundreds of millions of images."""

T = TypeVar("T")


class ProposerSolverTrainer(PolicyUpdate):
    """Trains both roles; `ireasoner.trainer.loop.assembly` makes its parts.

    Args:
        settings: The run.
        config: The run, for TRL.
        backbone: The base model, without adapters.
        lora: The shape of both adapters.
        processor: The backbone's processor, with left padding.
        images_per_epoch: Number of images of an epoch, for the metric `epoch`; more than 2^20 count as 2^20.
        prefetch: The groups of each update.
        publisher: Publishes adapters to the rollout server.
        scorer: The reward server; its fingerprint belongs to a checkpoint.
        run: The run folder.
        checkpoints: Its checkpoints.
        baselines: The moving baselines, if the settings ask for them.
        idle: The share of the time in which the rollout server has no work.
        signals: The signals that end the run.
        callbacks: Further callbacks.

    Attributes:
        versions: How many versions each role's adapter has had; the slow teacher has those of the Solver.
        teacher: The slow teacher, if the settings ask for one.
    """

    def __init__(
        self,
        settings: RunSettings,
        *,
        config: GRPOConfig,
        backbone: Any,
        lora: LoraConfig,
        processor: Any,
        images_per_epoch: int,
        prefetch: Prefetch,
        publisher: AdapterPublisher,
        scorer: GroupScorer,
        run: RunFolder,
        checkpoints: Checkpoints,
        baselines: MovingBaseline,
        idle: IdleShare,
        signals: StopSignals,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        self.run = run
        self.publisher = publisher
        self.checkpoints = checkpoints
        self.baselines = baselines
        self.kl_coefficients = {role: KlCoefficient(settings.kl) for role in ROLES}
        self.versions: dict[Role, int] = dict.fromkeys(ROLES, 0)
        self._prefetch = prefetch
        self._scorer = scorer
        self._idle = idle
        self._questions = RecentQuestions(settings.collapse.window)
        self._signals = signals
        self._whole: WholeUpdate | None = None
        self._is_training = False
        self._saves_alone = False
        self._error: BaseException | None = None
        super().__init__(
            settings,
            Ranks(),
            model=backbone,
            reward_funcs=[self.agreement],
            rollout_func=self._roll_out,
            args=config,
            train_dataset=Dataset.from_dict({"prompt": [""] * min(images_per_epoch, _MOST_ROWS)}),
            processing_class=processor,
            peft_config=lora,
            callbacks=[_UpdateCallback(self), *callbacks],
        )
        self.remove_callback(PrinterCallback)
        if self.ranks.count > 1 and not self.is_deepspeed_enabled:
            self.leave_unwrapped()
        name_roles(self.model, lora)
        self.teacher: SlowTeacher | None = None
        if settings.reward.voters == TEACHER:
            self.teacher = SlowTeacher(self.model, lora, settings.teacher)

    # A run, from its start or its newest checkpoint to its end.

    def go(self) -> None:
        """Trains to the end: from the newest complete checkpoint if the settings say `resume`, else from the start.

        Raises:
            BaseException: Whatever ended the run; it is saved as of its last whole update.
        """
        newest = self.checkpoints.newest() if self.settings.resume else None
        if newest is None:
            self.ranks.from_first(lambda: self.run.cut_logs({}))
            self._train_from(None)
            return
        state = read_state(newest)
        if state.update >= self.settings.updates:
            logger.warning("%s is complete: all %d updates are done", self.run.path, state.update)
            self.read_weights(str(newest))
            return
        self._restore(state)
        if self.teacher is not None:
            self.teacher.read(newest)
        self._train_from(str(newest))

    def _train_from(self, checkpoint: str | None) -> None:
        self.ranks.from_first(self._discard_result)
        self.ranks.align(value.data for name, value in self.model.named_parameters() if "lora_" in name)
        with self._signals, self._saved_whatever_ends_it():
            self.train(resume_from_checkpoint=checkpoint)
            if self._error is not None:
                raise self._error

    def _state(self) -> LoopState:
        return LoopState(
            update=self.state.global_step,
            versions=self.versions,
            kl_betas={role: coefficient.beta for role, coefficient in self.kl_coefficients.items()},
            moving_baselines=self.baselines.values,
            fingerprint=self._scorer.fingerprint,
            log_bytes=self.run.log_bytes(),
        )

    def _restore(self, state: LoopState) -> None:
        self.versions = dict(state.versions)
        for role, coefficient in self.kl_coefficients.items():
            coefficient.beta = state.kl_betas[role]
        self.baselines.restore(state.moving_baselines)
        self._scorer.fingerprint = state.fingerprint
        self.ranks.from_first(lambda: self.run.cut_logs(state.log_bytes))
        solver = (group for group in read_lines(self.run.groups) if group["role"] == "solver")
        for _, groups in groupby(solver, key=lambda group: int(group["update"])):
            self._questions.add([group["question"] for group in groups])

    def publish(self, role: Role) -> None:
        """Publishes the current adapter of `role`, and with the Solver's that of the slow teacher."""
        adapters: list[AdapterName] = [role]
        if role == "solver" and self.teacher is not None:
            adapters.append(TEACHER)
        with self._timed("publish"):
            for name in adapters:
                self.publisher.publish(self.model, name, self.versions[role], self._from_first)
                if (gap := self.publisher.canary_gap_nats) is not None:
                    self.metrics["canary_gap"] = [max([gap, *self.metrics["canary_gap"]])]

    def _from_first(self, make: Callable[[], T]) -> T:
        """`Ranks.from_first` of a `make` that may wait for servers; a signal ends the wait."""

        def interruptible() -> T:
            with self._signals.raised():
                return make()

        return self.ranks.from_first(interruptible)

    def close(self) -> None:
        """Discards the groups that were collected for an update that will not come."""
        self._prefetch.close()

    def write_final(self) -> None:
        """Writes both adapters to the run folder; `final` appears once both are complete."""
        if not self.ranks.is_first or self.run.final.exists():
            return
        partial = self.run.final.with_name("final.partial")
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir()
        for role in ROLES:
            self.publisher.write(self.model, role, partial / role)
        partial.rename(self.run.final)

    def _discard_result(self) -> None:
        """Removes the adapters and the figures of a former end: a run that trains on will have others."""
        if self.run.final.exists():
            shutil.rmtree(self.run.final)
        forget_after(self.run.path)

    # An update, in the order of its parts.

    def scored_batch(self) -> Batch:
        """This process's rows of the update, with rewards and advantages."""
        update = self.state.global_step
        self.role = role_at(self.settings, update)
        self.accelerator.unwrap_model(self.model).set_adapter(self.role)
        self.forget_logged_rows()
        self.take_groups(update)
        if not self.groups:
            return {}
        rows = [
            {"prompt": prompt.messages, "image": prompt.picture}
            for group in self.groups
            for prompt in group.prompt_of_rollout
        ]
        # With beta 0, TRL makes no forward pass of the reference: it would make one of every row, even of those that
        # turn out to have no learning signal.
        self.beta = 0.0
        batch = self.scored_by_trl(self.ranks.own(rows))
        self.beta = self.kl_coefficients[self.role].beta
        batch["advantages"] = self._advantages(batch["advantages"])
        self._is_training = True
        return batch

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One forward and backward pass; a signal ends it if no other process waits for it and it moves no weight."""
        stops = self.ranks.count == 1 and not self.is_deepspeed_enabled
        with self._signals.raised() if stops else nullcontext():
            loss: torch.Tensor = super().training_step(*args, **kwargs)
        if self.is_last_micro_batch and not self.is_deepspeed_enabled:
            self.ranks.average(each.grad for each in self.model.parameters() if each.grad is not None)
        return loss

    def take_groups(self, update: int) -> None:
        """Takes the groups of the update from the collector, and logs them."""
        with self._timed("wait"):
            collected = self._from_first(lambda: self._prefetch.take(update))
        self.groups = collected.groups
        for name, values in collected.metrics.items():
            self.metrics[name] += values
        if self.groups:
            self._refuse_stale_rollouts(update)
        for group in collected.recorded:
            self.run.append_group(self._entry(collected, group))
        if self.role == "solver" and collected.recorded:
            questions = [group.question for group in collected.recorded]
            for name, figure in self._questions.add(questions).items():
                self.add_metric(name, figure)
        if not self.groups:
            return
        flat = [group for group in self.groups if group.has_reward and not group.has_spread]
        self.add_metric("no_spread_rate", len(flat) / len(self.groups))
        unjudged = [group for group in self.groups if not group.has_reward]
        self.add_metric("no_reward_rate", len(unjudged) / len(self.groups))

    def _refuse_stale_rollouts(self, update: int) -> None:
        """Logs how many versions each rollout is behind, and refuses more than overlap explains."""
        for group in self.groups:
            group.staleness = self.versions[self.role] - version(group.rollouts[0].policy)
            for rollout in group.record["rollouts" if self.role == "solver" else "proposals"]:
                rollout["staleness"] = group.staleness
        staleness = [group.staleness for group in self.groups]
        self.add_metric("staleness/mean", sum(staleness) / len(staleness))
        self.add_metric("staleness/max", max(staleness))
        allowed = int(self.settings.overlap)
        if max(staleness) > allowed:
            raise StaleRolloutError(
                f"update {update + 1}: rollouts of the {self.role} are {max(staleness)} versions behind the trained "
                f"adapter; the limit {'with' if allowed else 'without'} overlap is {allowed}"
            )

    def _entry(self, collected: Collected, group: Group) -> dict[str, Any]:
        """The group's line in `groups.jsonl`."""
        return {
            "update": collected.update,
            "role": collected.role,
            "image": str(group.path),
            "question": group.question,
            "progress": self.settings.progress_at(collected.update),
            "fingerprint": collected.fingerprint if group.rollouts else "",
            "sampling": asdict(collected.contract),
            "trained_on": group.rewards,
            "has_spread": group.has_spread,
            **group.record,
        }

    def _roll_out(self, prompts: list[Any], trainer: GRPOTrainer) -> dict[str, Any]:
        rollouts = self.ranks.own([rollout for group in self.groups for rollout in group.rollouts])
        completions = [self.completion(rollout) for rollout in rollouts]
        return {
            "prompt_ids": [list(rollout.prompt_token_ids) for rollout in rollouts],
            "completion_ids": [token_ids for token_ids, _ in completions],
            "logprobs": [logprobs for _, logprobs in completions],
        }

    def completion(self, rollout: Rollout) -> tuple[list[int], list[float]]:
        """The token ids to train on, with their log-probabilities: those that were sampled."""
        return list(rollout.token_ids), list(rollout.logprobs)

    def agreement(self, **_: Any) -> list[float | None]:
        """One reward per rollout of this process, in TRL's order; None if it has none."""
        return self.ranks.own([reward for group in self.groups for reward in group.rewards])

    def _advantages(self, group_advantages: torch.Tensor) -> torch.Tensor:
        """One advantage per rollout of this process, shape (rollouts,)."""
        if self.settings.advantage == "group":
            return group_advantages
        rewards = [reward for group in self.groups for reward in group.rewards]
        advantages = self.baselines.advantages(self.role, rewards)
        self.replace_logged_advantages(advantages)
        return group_advantages.new_tensor(self.ranks.own(advantages))

    def keep_trained(self, optimizer: Any) -> None:
        """Copies what the optimizer is about to move, so that a step that fails can be undone."""
        if self._whole is not None and not self.is_deepspeed_enabled:
            self._whole.keep_trained(optimizer, () if self.teacher is None else self.teacher.parameters)

    def after_update(self, control: TrainerControl) -> None:
        """Adapts the KL coefficient and publishes the trained adapter, unless no group had a learning signal.

        If it cannot be published, the update is logged and saved all the same, before the run ends.
        """
        coefficient = self.kl_coefficients[self.role]
        self.add_metric("kl_coefficient", coefficient.beta)
        if not self.micro_batches:
            return
        kl = self.metrics.get("kl", [])
        if kl:
            coefficient.observe(sum(kl) / len(kl))
        self.versions[self.role] += 1
        if self.role == "solver" and self.teacher is not None:
            progress = self.settings.progress_at(self.state.global_step - 1)
            self.add_metric("teacher_decay", self.teacher.move(progress))
        try:
            self.publish(self.role)
        except (Exception, RunInterrupted) as error:  # noqa: BLE001  raised when the update is whole
            self._error = error
            control.should_log = control.should_save = control.should_training_stop = True

    def end_update(self) -> None:
        """Keeps what the next update changes, and ends the run if a signal came to one of its processes.

        Raises:
            RunInterrupted: A signal came.
        """
        self._is_training = False
        given = self.ranks.of_all((RandomState(), self._signals.received))
        if self._whole is None or self._whole.loop.update != self.state.global_step:
            self._whole = WholeUpdate(self, self._state(), [random for random, _ in given])
        for _, received in given:
            if received is not None:
                raise RunInterrupted(received)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Logs an update's metrics under the name of the role that it trained."""
        if "loss" in logs:
            for name, share in time_shares(self.metrics, overlap=self.settings.overlap).items():
                self.metrics[name] = [share]
            self.metrics["rollout_idle_share"] = [self._idle.read()]
            self.rename_metrics(f"{self.role}/")
            for name in list(logs):
                if name != "epoch":
                    logs[f"{self.role}/{name}"] = logs.pop(name)
            # A table of Weights & Biases cannot hold messages whose parts have different keys.
            self.convert_logged_texts(text_of)
        super().log(logs, start_time)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        """Logs how many seconds the block takes."""
        started_s = time.monotonic()
        try:
            yield
        finally:
            self.add_metric(f"seconds/{phase}", time.monotonic() - started_s)

    # Optimizer and checkpoints.

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """One optimizer for both adapters; in an update only the active one has gradients, and only it moves."""
        # Both need gradients here: what wraps the model for several processes must know both.
        for name, parameter in self.model.named_parameters():
            if "lora_" in name and f".{TEACHER}." not in name:
                parameter.requires_grad_(True)
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        return optimizer

    def write_checkpoint(self, model: Any, trial: Any) -> None:
        """Writes a checkpoint whole or not at all."""
        with self._checkpoint_folder(self._state()) as partial:
            self._write_into(partial)

    def _write_into(self, folder: Path) -> None:
        before, self.args.output_dir = self.args.output_dir, str(folder)
        try:
            super().write_checkpoint(self.model, None)
        finally:
            self.args.output_dir = before

    def store_flos(self) -> None:
        """Adds up the operations of all processes, unless this one saves alone."""
        if not self._saves_alone:
            super().store_flos()

    @contextmanager
    def _checkpoint_folder(self, state: LoopState) -> Iterator[Path]:
        """The folder to write to: the first process writes all but the random state of the others."""
        if not self.ranks.is_first:
            self.ranks.wait()
            yield self.checkpoints.partial
            self.ranks.wait()
            return
        with self.checkpoints.writing(state.update, state) as partial:
            self.ranks.wait()
            yield partial
            self.ranks.wait()

    @contextmanager
    def _saved_whatever_ends_it(self) -> Iterator[None]:
        """Saves the last whole update before an error or a signal ends the run, and reports what is saved."""
        try:
            yield
        except BaseException as error:
            if self._can_save(error):
                try:
                    self._save_whole_update()
                except CheckpointError as failure:
                    logger.warning("%s", failure)
            self._report_saved()
            raise

    def _report_saved(self) -> None:
        if self.ranks.is_first:
            newest = self.checkpoints.newest()
            if newest is None:
                logger.warning("the run ends before its first update was finished; nothing is saved")
            else:
                logger.warning("saved at update %d; go on with --resume", read_state(newest).update)

    def _can_save(self, error: BaseException) -> bool:
        """Whether the last whole update can be saved; a checkpoint that could not be written is not tried again."""
        if self._whole is None or isinstance(error, CheckpointError):
            return False
        if self.is_deepspeed_enabled:
            # Every process has a part of its optimizer, which moves inside the backward pass.
            return not self._is_training and self.ranks.share(error)
        return self.ranks.is_first

    def _save_whole_update(self) -> None:
        """Saves the last whole update, unless it is saved; without DeepSpeed the first process does so alone.

        Raises:
            CheckpointError: It could not be written.
        """
        assert self._whole is not None
        loop = self._whole.loop
        newest = self.checkpoints.newest()
        if newest is not None and read_state(newest).update == loop.update:
            return
        if self.is_deepspeed_enabled:
            self.write_checkpoint(self.model, None)
            return
        self._saves_alone = True
        with self.checkpoints.writing(loop.update, loop) as partial:
            self._whole.restore(self)
            self._write_into(partial)
            for rank, random in enumerate(self._whole.random[1:], start=1):
                random.write(partial / f"checkpoint-{loop.update}" / f"rng_state_{rank}.pth")


class _UpdateCallback(TrainerCallback):  # type: ignore[misc]
    def __init__(self, trainer: ProposerSolverTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, *_: object, **__: object) -> None:
        for role in ROLES:
            self._trainer.publish(role)

    def on_pre_optimizer_step(self, *_: object, **kwargs: Any) -> None:
        self._trainer.keep_trained(kwargs["optimizer"])

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._trainer.after_update(control)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        logs = kwargs["logs"]
        if any(name.startswith(ROLES) for name in logs):
            self._trainer.run.append_metrics(
                {"update": state.global_step, "role": self._trainer.role, **logs}
            )
