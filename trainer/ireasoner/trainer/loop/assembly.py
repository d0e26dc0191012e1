"""Assembles the trainer of a run from its settings, its model and its clients."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import gcd
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar

from peft import LoraConfig, PeftModel
from transformers import TrainerCallback
from trl import GRPOConfig

from ireasoner.trainer.adapters.backbone import (
    forbid_tokens,
    forbidden_token_ids,
    lora_config,
    stop_token_ids,
)
from ireasoner.trainer.adapters.canary import Canary
from ireasoner.trainer.adapters.publisher import AdapterPublisher, write_adapter
from ireasoner.trainer.images import ImageSet, ImageStream, StreamOrder
from ireasoner.trainer.loop.collector import Collector
from ireasoner.trainer.loop.grpo_config import grpo_config
from ireasoner.trainer.loop.image_groups import ImageGroups, Order, Pictures
from ireasoner.trainer.loop.image_order import ImageOrder
from ireasoner.trainer.loop.launcher import launched_processes
from ireasoner.trainer.loop.moving_baseline import MovingBaseline
from ireasoner.trainer.loop.prefetch import Prefetch
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.loop.signal_pass import SignalPass
from ireasoner.trainer.loop.stop_signals import StopSignals
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.monitoring.collapse_guard import CollapseGuard
from ireasoner.trainer.rewards.group_scorer import GroupScorer
from ireasoner.trainer.rewards.needs import NOTHING, Needs
from ireasoner.trainer.rewards.shadow_labels import ShadowLabels
from ireasoner.trainer.rewards.variant import RewardVariant
from ireasoner.trainer.rollouts.busy_clock import IdleShare
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.rollout import SamplingContract
from ireasoner.trainer.run_folder.checkpoint import Checkpoints
from ireasoner.trainer.run_folder.run_folder import RunFolder
from ireasoner.trainer.settings import ROLES, AdapterName, Role, RunSettings
from ireasoner.trainer.views import GroupViews, named_contrast, named_views


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """Makes the parts of a trainer, one per method; an experiment overrides the part that it changes.

    Args:
        settings: The run.
        backbone: The base model, without adapters.
        processor: Its processor, with left padding.
        images: The images to ask about.
        rollouts: The rollout server.
        scorer: The reward server.
        run: The run folder.
        shadow: Measures groups against labels, if there are any.
        variant: What the Solver is trained on instead of its scores.
        signals: The signals that end the run.
        needs: What the scoring config needs besides texts.
    """

    settings: RunSettings
    backbone: Any
    processor: Any
    images: ImageSet
    rollouts: RolloutClient | RolloutReplicas
    scorer: GroupScorer
    run: RunFolder
    shadow: ShadowLabels
    variant: RewardVariant | None = None
    signals: StopSignals = field(default_factory=StopSignals)
    needs: Needs = NOTHING

    trainer_class: ClassVar[type[ProposerSolverTrainer]] = ProposerSolverTrainer

    def trainer(self, callbacks: Sequence[TrainerCallback] = ()) -> ProposerSolverTrainer:
        """The trainer, ready to go.

        Raises:
            SettingsError: TRL refuses a field, or the model has no layer for an adapter.
        """
        forbid_tokens(self.backbone, self.forbidden_token_ids)
        publisher = self.publisher()
        checkpoints = Checkpoints(
            self.run.checkpoints, self.settings.keep_checkpoints, self.settings.save_every
        )
        return self.trainer_class(
            self.settings,
            config=self.config,
            backbone=self.backbone,
            lora=self.lora(),
            processor=self.processor,
            images_per_epoch=self.images.count or self.settings.updates * self.settings.groups_per_update,
            prefetch=Prefetch(
                self.collector(publisher),
                publisher.policies,
                self.settings.updates,
                overlap=self.settings.overlap,
            ),
            publisher=publisher,
            scorer=self.scorer,
            run=self.run,
            checkpoints=checkpoints,
            baselines=self.baselines(),
            idle=IdleShare(self.rollouts.sampling),
            signals=self.signals,
            callbacks=[*callbacks, self.collapse_guard(checkpoints)],
        )

    @cached_property
    def config(self) -> GRPOConfig:
        """The run's settings for TRL."""
        return grpo_config(self.settings)

    @cached_property
    def forbidden_token_ids(self) -> tuple[int, ...]:
        """Tokens that are never sampled."""
        return forbidden_token_ids(self.backbone.config, self.processor.tokenizer)

    def lora(self) -> LoraConfig:
        """The shape of both adapters."""
        return lora_config(self.backbone, self.settings.lora)

    def publisher(self) -> AdapterPublisher:
        """Publishes adapters to the rollout server."""
        return AdapterPublisher(
            self.rollouts,
            self.settings.adapters_folder or self.run.path / "adapters",
            # Unique per start of a run: a server that several runs use, together or in turn, must not see a name twice.
            prefix=f"{self.run.path.name}-{token_hex(3)}-",
            write=self.write_adapter,
            canary=self.canary(),
            canary_every=self.settings.rollout.canary_every,
            keep=2 if self.settings.overlap else 1,
            retry_budget_s=self.settings.retry_budget_s,
        )

    def write_adapter(self, policy: PeftModel, role: AdapterName, path: Path) -> None:
        """Writes one role's adapter, and refuses one that vLLM could not serve."""
        write_adapter(policy, role, path)

    def canary(self) -> Canary | None:
        """Checks published adapters, unless the settings turn that off.

        Each process has one, because all of them make its forward passes; the first one alone can read images.
        """
        if not self.settings.rollout.canary_every:
            return None
        return Canary(
            self.rollouts,
            self.processor,
            Ranks().from_first(self.images.first_readable),
            forbidden_token_ids=self.forbidden_token_ids,
            tolerance_nats=self.settings.rollout.canary_tolerance,
        )

    def collector(self, publisher: AdapterPublisher) -> Collector:
        """Collects the groups of each update."""
        settings = self.settings
        return Collector(
            settings,
            images=self.image_groups(),
            processor=self.processor,
            rollouts=self.rollouts,
            publisher=publisher,
            scorer=self.scorer,
            shadow=self.shadow,
            views=self.views(),
            variant=self.variant,
            contracts={role: self.sampling_contract(role) for role in ROLES},
            needs=self.needs,
            signal_pass=self.signal_pass(publisher) if self.needs.figures else None,
        )

    def signal_pass(self, publisher: AdapterPublisher) -> SignalPass:
        """Measures the distributions that the Solver's tokens were sampled from."""
        return SignalPass(
            self.backbone,
            self.processor,
            publisher.folder,
            self.sampling_contract("solver"),
            self.needs.figures,
            self.settings.rollouts_per_micro_batch,
        )

    def views(self) -> GroupViews:
        """The views of the Solver's questions.

        Raises:
            SettingsError: There is no such view.
        """
        settings = self.settings
        return GroupViews(
            named_views(settings.views.names),
            named_contrast(settings.views.contrast, self.images.paths, self.images.read),
            seed=settings.seed,
            group_size=settings.group_size,
            contrast_rollouts=settings.views.contrast_rollouts or settings.rollouts_per_view,
        )

    def image_groups(self) -> ImageGroups:
        """The groups of each update, before their prompts."""
        settings = self.settings
        processes = launched_processes()
        return ImageGroups(
            *self._images_and_order(),
            settings.max_consecutive_unreadable_images,
            divisor=processes // gcd(processes, settings.group_size),
        )

    def _images_and_order(self) -> tuple[Pictures, Order]:
        settings, images = self.settings, self.images
        per_update, seed, shuffle = settings.groups_per_update, settings.seed, self.config.shuffle_dataset
        if not isinstance(images, ImageStream):
            return images, ImageOrder(images.paths, per_update, seed, shuffle=shuffle)
        stream = StreamOrder(
            images,
            per_update,
            seed,
            shuffle=shuffle,
            journal=self.run.stream,
            accept_changed=settings.accept_changed_images,
        )
        return stream, stream

    def sampling_contract(self, role: Role) -> SamplingContract:
        """How the rollouts of a role are sampled."""
        rollout = self.settings.rollout
        max_tokens = {"solver": rollout.solver_max_tokens, "proposer": rollout.proposer_max_tokens}
        return SamplingContract(
            max_tokens=max_tokens[role],
            temperature=rollout.temperature,
            forbidden_token_ids=self.forbidden_token_ids,
            stop_token_ids=stop_token_ids(self.backbone.generation_config, self.processor.tokenizer),
        )

    def baselines(self) -> MovingBaseline:
        """The moving baselines."""
        return MovingBaseline()

    def collapse_guard(self, checkpoints: Checkpoints) -> CollapseGuard:
        """Marks the onset of collapse."""
        return CollapseGuard(
            self.settings.collapse, checkpoints, self.run.path, stops=self.settings.stop_on_collapse
        )
