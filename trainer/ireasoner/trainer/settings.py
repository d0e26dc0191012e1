"""The settings of a run: one TOML file, and a flag for every field, which overrides it."""

import contextlib
import json
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ireasoner.trainer.errors import SettingsError

Role = Literal["solver", "proposer"]
ROLES: tuple[Role, ...] = ("solver", "proposer")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class LoraSettings(_Table):
    """The adapters; both roles have one of this shape (defaults: the paper's)."""

    r: int = Field(16, ge=1)
    """Rank."""
    alpha: int = Field(32, ge=1)
    """Scale: the update is alpha / r times B A."""
    dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on the adapters' input. Anything above 0 makes trained log-probabilities differ from sampled ones."""
    target_modules: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    """Linear layers of the language model that get an adapter; the vision tower never does."""


class KlSettings(_Table):
    """The penalty on the divergence from the base model, in nats a token (defaults: the paper's)."""

    mode: Literal["adaptive", "fixed", "none"] = "adaptive"
    """adaptive: beta <- beta exp(rate (KL - target) / target) after each update of a role; fixed: beta stays."""
    beta: float = Field(1e-3, ge=0)
    """The coefficient, or its first value."""
    target: float = Field(0.02, gt=0)
    """KL that the adaptive coefficient steers to, nats a token."""
    rate: float = Field(0.10, gt=0)
    """How fast the adaptive coefficient moves."""
    beta_min: float = Field(1e-8, gt=0)
    """Lower bound of the adaptive coefficient."""
    beta_max: float = Field(1e2, gt=0)
    """Upper bound of the adaptive coefficient."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.beta_min > self.beta_max:
            raise ValueError(f"beta_min {self.beta_min} is above beta_max {self.beta_max}")
        if self.mode != "none" and self.beta == 0:
            raise ValueError('beta is 0: set mode = "none" for a run without the penalty')
        return self


class RewardSettings(_Table):
    """Where rewards come from."""

    url: str = "http://127.0.0.1:8010"
    """The reward server."""
    token_file: Path | None = None
    """File that holds the experiment's token, where the server asks for one."""
    config: str = "paper"
    """Preset or registered name of the scoring config."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Fields of the scoring config that differ from it."""
    control: Literal["none", "random"] = "none"
    """random: a control, not a method: rewards are drawn uniformly instead of taken from the server."""
    abstentions_in_a_row: int = Field(50, ge=1)
    """Groups in a row that the server could not judge, after which the run stops; each is left out and counted."""
    timeout_s: float = Field(120.0, gt=0)
    """One request."""
    retry_budget_s: float = Field(300.0, ge=0)
    """How long to go on trying while the server is away."""

    def token(self) -> str | None:
        """The experiment's token, if there is a file of it.

        Raises:
            SettingsError: The file cannot be read.
        """
        if self.token_file is None:
            return None
        try:
            return self.token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"reward.token_file: {self.token_file}: {error.strerror}") from error


class RolloutSettings(_Table):
    """Where rollouts come from, and how they are sampled."""

    url: str = Field("http://127.0.0.1:8020", min_length=1)
    """The rollout server; several of one base model, separated by commas, share the work."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature of both roles in training."""
    solver_max_tokens: int = Field(256, ge=1)
    """New tokens of a Solver rollout at most."""
    proposer_max_tokens: int = Field(128, ge=1)
    """New tokens of a proposal at most."""
    unasked_in_a_row: int = Field(50, ge=1)
    """Proposals in a row without a question, after which the run stops; the group of each is left out and counted."""
    logprob_gap_alarm: float = Field(0.1, gt=0)
    """A warning is shown where sampled and recomputed log-probabilities differ by more on average, nats a token."""
    max_staleness: int = Field(0, ge=0)
    """Updates of its role by which a rollout's adapter may be behind; older ones stop the run."""
    canary_every: int = Field(1, ge=0)
    """After so many publications a short greedy completion proves that what is served is what was trained; 0: never."""
    canary_tolerance: float = Field(0.1, gt=0)
    """How far its log-probabilities may be from the trainer's, nats a token; 1e-3 is ample where both use float32."""
    timeout_s: float = Field(300.0, gt=0)
    """One request."""
    retry_budget_s: float = Field(300.0, ge=0)
    """How long to go on trying while the server is away."""
    concurrency: int = Field(64, ge=1)
    """Requests in flight at most, at each server."""


class CollapseSettings(_Table):
    """The guard against collapse, which watches the Solver's last updates."""

    window: int = Field(20, ge=2)
    """Updates of the Solver that are watched at a time."""
    entropy: float = Field(0.2, gt=0, lt=1)
    """Onset where the answers' entropy falls below this share of its first mean."""
    dominant_share: float = Field(0.97, gt=0, le=1)
    """Onset where the share of the dominant answer rises above this."""
    distinct: float = Field(0.2, gt=0, lt=1)
    """Onset where the share of distinct questions among those of a window falls below this share of the first one's."""
    length: float = Field(0.4, gt=0, lt=1)
    """Onset where completions become shorter than this share of their first mean length."""


class ReferenceDefects(_Table):
    """Defects of the code released with the paper, put back on purpose to see what each is worth. Each is wrong."""

    frozen_proposer: bool = False
    """Wrong: the Proposer's gradient is lost before its step, so it never moves."""
    kl_to_itself: bool = False
    """Wrong: the KL reference is the policy itself, so KL is 0, and an adaptive coefficient falls to its bound."""
    no_image_in_gradient: bool = False
    """Wrong: the training forward pass does not get the image, so the gradient is that of a text-only policy."""
    checkpoint_sampling_defaults: bool = False
    """Wrong: top_k and repetition_penalty are taken from the checkpoint's generation_config."""
    retokenised_completions: bool = False
    """Wrong: completions are decoded, stripped and tokenised again; their end-of-sequence token is not trained."""
    one_moving_baseline: bool = False
    """Wrong: an advantage is a reward less one moving average over all questions, which depends on their order."""
    adapters_on_vision_tower: bool = False
    """Wrong: layers of the vision tower get adapters too, which vLLM ignores: what is sampled is another policy."""

    @property
    def put_back(self) -> list[str]:
        """The names of those that are on."""
        return [name for name in type(self).model_fields if getattr(self, name)]


class RunSettings(BaseSettings):
    """Train a Solver and a Proposer on unlabelled images, against a running rollout server and reward server."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        cli_prog_name="ireasoner train",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
    )

    config: Path | None = None
    """TOML file with any of the settings below; flags override it."""
    model: str
    """The base model: a folder or a hub id, of the Qwen2.5-VL architecture."""
    images: Path
    """Folder of unlabelled images, sub-folders included."""
    run_folder: Path
    """Where everything of this run is written; must not hold another run."""
    adapters_folder: Path | None = None
    """Folder shared with the rollout server, for published adapters (default: adapters/ in the run folder)."""
    labels: str | None = None
    """Shadow labels, measured and never part of a reward: a JSON-lines file of questions, or module:function."""
    updates: int = Field(3000, ge=1)
    """Updates of either role in all."""
    proposer_every: int = Field(5, ge=0)
    """One update of the Proposer after so many of the Solver; 0 leaves the Proposer as it is."""
    group_size: int = Field(5, ge=2)
    """N: rollouts in a group."""
    groups_per_update: int = Field(1, ge=1)
    """Questions (Solver) or images (Proposer) an update."""
    proposer_groups_per_update: int | None = Field(None, ge=1)
    """Images an update of the Proposer, where they are to be fewer (default: groups_per_update): each costs group_size
    questions, and each of these group_size rollouts."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Rollouts in one forward and backward pass; must divide the rollouts of an update (default: all of them)."""
    overlap: bool = False
    """Collect the next update's groups while one is trained: rollouts are at most one update stale. Off for exact runs:
    after --resume the next update is collected anew, so it has other rollouts than it would have had."""
    seed: int = Field(0, ge=0)
    """Seed of data order, sampling, adapters and controls."""
    save_every: int = Field(100, ge=1)
    """Updates between checkpoints."""
    keep_checkpoints: int = Field(2, ge=1)
    """How many of the newest checkpoints stay."""
    resume: bool = False
    """Go on with the run in run_folder, from its newest complete checkpoint."""
    cpu_threads: int | None = Field(None, ge=1)
    """Threads of torch on a CPU (default: torch's own choice). With a server on the same cores, fewer are faster."""
    dry_run: bool = False
    """Print the resolved settings, what would be trained and what memory it takes; of the model only
    config.json is read."""
    lora: LoraSettings = Field(default_factory=LoraSettings)
    """Adapters."""
    kl: KlSettings = Field(default_factory=KlSettings)
    """Penalty on the divergence from the base model."""
    reward: RewardSettings = Field(default_factory=RewardSettings)
    """Reward server."""
    rollout: RolloutSettings = Field(default_factory=RolloutSettings)
    """Rollout server."""
    collapse: CollapseSettings = Field(default_factory=CollapseSettings)
    """Guard against collapse."""
    stop_on_collapse: bool = False
    """End the run where the guard sees the onset of collapse."""
    reference_defects: ReferenceDefects = Field(default_factory=ReferenceDefects)
    """An ablation: what is wrong in the released code, put back. All off by default."""
    grpo: dict[str, Any] = Field(default_factory=dict)
    """Any field of TRL's GRPOConfig that is not set by the settings above, passed on unchanged."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the file: no environment variable changes an experiment."""
        return (init_settings,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rollouts_per_update % self.rollouts_per_pass:
            raise ValueError(
                f"micro_batch_size {self.rollouts_per_pass} does not divide the {self.rollouts_per_update} "
                "rollouts of an update (group_size x groups_per_update)"
            )
        if self.groups_at(self.proposer_every) > self.groups_per_update:
            raise ValueError(
                f"proposer_groups_per_update {self.proposer_groups_per_update} is above groups_per_update "
                f"{self.groups_per_update}"
            )
        taken = sorted(_GRPO_OWNED & self.grpo.keys())
        if taken:
            raise ValueError(
                f"grpo.{taken[0]} is set by this trainer itself: use the setting of its own instead"
            )
        return self

    @property
    def experiment(self) -> dict[str, Any]:
        """The settings that shape the result, as JSON; where servers are and how long to wait for them do not."""
        document: dict[str, Any] = self.model_dump(
            mode="json",
            exclude={
                "config": True,
                "run_folder": True,
                "adapters_folder": True,
                "labels": True,
                "cpu_threads": True,
                "save_every": True,
                "keep_checkpoints": True,
                "resume": True,
                "stop_on_collapse": True,
                "dry_run": True,
                "reward": {"url", "token_file", "timeout_s", "retry_budget_s"},
                "rollout": {
                    "url",
                    "timeout_s",
                    "retry_budget_s",
                    "concurrency",
                    "canary_every",
                    "canary_tolerance",
                },
            },
        )
        return document

    @property
    def rollouts_per_update(self) -> int:
        """Rollouts that one update trains on."""
        return self.group_size * self.groups_per_update

    @property
    def rollouts_per_pass(self) -> int:
        """Rollouts in one forward and backward pass."""
        return self.micro_batch_size or self.rollouts_per_update

    def role_at(self, update: int) -> Role:
        """The role that update number `update` (from 0) trains."""
        cycle = self.proposer_every + 1
        return "proposer" if self.proposer_every and update % cycle == self.proposer_every else "solver"

    def groups_at(self, update: int) -> int:
        """How many groups update number `update` (from 0) trains on."""
        if self.role_at(update) == "proposer" and self.proposer_groups_per_update is not None:
            return self.proposer_groups_per_update
        return self.groups_per_update

    def progress_at(self, update: int) -> float:
        """t in [0, 1]: the share of the run that is done when update number `update` (from 0) begins."""
        return update / max(self.updates - 1, 1)


_GRPO_OWNED = frozenset(
    {
        "output_dir", "max_steps", "num_train_epochs", "seed", "data_seed", "num_generations", "num_iterations",
        "per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "generation_batch_size",
        "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs", "max_completion_length",
        "beta", "use_vllm", "use_transformers_continuous_batching", "use_liger_kernel", "save_strategy", "save_steps",
        "logging_strategy", "logging_steps", "logging_first_step", "remove_unused_columns",
    }
)  # fmt: skip


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        SettingsError: The file is missing or is not TOML; the message names the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"--config: there is no file {path}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"--config: {path} is not TOML: {error}") from error


def describe(error: ValidationError) -> str:
    """One line a fault: the field and what is wrong with it."""
    lines = []
    for fault in error.errors():
        place = ".".join(str(part) for part in fault["loc"])
        lines.append(f"{place}: {fault['msg']}" if place else fault["msg"])
    return "\n".join(lines)


def literals(fields: dict[str, Any]) -> dict[str, Any]:
    """Values given as flags (`--grpo loss_type=dapo`, `--grpo epsilon=0.3`) as what they spell, where it is JSON."""
    parsed = {}
    for name, value in fields.items():
        if isinstance(value, str):
            with contextlib.suppress(json.JSONDecodeError):  # a plain word
                value = json.loads(value)
        parsed[name] = value
    return parsed
