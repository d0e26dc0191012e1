"""The settings of a run: a TOML file, and a flag for every field, which overrides the file."""

import argparse
import contextlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ireasoner.audit.thresholds import Thresholds
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.server_url import ServerUrl, ServerUrls

Role = Literal["solver", "proposer"]
ROLES: tuple[Role, ...] = ("solver", "proposer")
AdapterName = Literal["solver", "proposer", "teacher"]
"""An adapter of the policy: that of a role, or the slow teacher's, which no gradient moves."""


def _literals(fields: Any) -> Any:
    """Parses the values of flags (`--grpo loss_type=dapo`, `--grpo epsilon=0.3`) that are JSON; others stay strings."""
    if not isinstance(fields, dict):
        return fields
    parsed = {}
    for name, value in fields.items():
        if isinstance(value, str):
            with contextlib.suppress(json.JSONDecodeError):  # a plain word
                value = json.loads(value)
        parsed[name] = value
    return parsed


NamedValues = Annotated[dict[str, Any], BeforeValidator(_literals)]
"""Values by name: a table of the file, or flags NAME=VALUE."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class LoraSettings(_Table):
    """The adapters; both roles have one of this shape. Defaults are the paper's."""

    r: int = Field(16, ge=1)
    """Rank."""
    alpha: int = Field(32, ge=1)
    """Scale: the update is alpha / r times B A."""
    dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on the adapters' input. Above 0, trained log-probabilities differ from sampled ones."""
    target_modules: tuple[str, ...] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    )
    """Linear layers of the language model that get an adapter. The vision tower never gets one."""


class KlSettings(_Table):
    """The KL penalty to the base model. Defaults are the paper's."""

    mode: Literal["adaptive", "fixed", "none"] = "adaptive"
    """adaptive: beta <- beta exp(0.1 (KL - target) / target) after each update; fixed: beta stays; none: no penalty."""
    beta: float = Field(1e-3, ge=0)
    """The coefficient, or its first value."""
    target: float = Field(0.02, gt=0)
    """KL that the adaptive coefficient steers towards, in nats per token."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mode != "none" and self.beta == 0:
            raise ValueError('beta is 0: set mode = "none" for a run without the penalty')
        return self


class RewardSettings(_Table):
    """The reward server."""

    url: ServerUrl = "http://127.0.0.1:8010"
    """Address of the reward server."""
    token_file: Path | None = None
    """File with the experiment's token, if the server requires one."""
    config: str = "paper"
    """Scoring config: a preset or a registered name."""
    overrides: NamedValues = Field(default_factory=dict)
    """Fields of the scoring config to change."""
    control: Literal["none", "random"] = "none"
    """random: a control, not a method; rewards are drawn uniformly instead of taken from the server."""
    voters: Literal["none", "paraphrase", "teacher"] = "none"
    """Who judges the Solver's answers under a config with votes = "voters": the policy's own answers to a paraphrase of
    the question, or the answers of a slow teacher, a moving average of the Solver's adapter (see [teacher])."""
    proposer: Literal["scored", "minority_share"] = "scored"
    """What a question is paid, before the repetition penalty. scored: the reward server's reward; minority_share:
    min(p, 1 - p) for a dominant share p, and -1 for a proposal without a question, as VisPlay's code does."""
    repetition_penalty: float = Field(0.0, ge=0)
    """A question is paid less by this, times the share of the update's proposals that are alike to it (see
    docs/training.md). 0: no penalty; R-Zero and VisPlay use 1."""
    function: str | None = None
    """module:function of your own, whose rewards replace the Solver's scores (see docs/training.md)."""
    source: str | None = Field(None, min_length=1, max_length=256)
    """Name of the run in the reward server's ledger (default: the name of the run folder); no reward depends on it."""
    max_consecutive_abstentions: int = Field(50, ge=1)
    """The run stops after more consecutive groups than this that the server could not judge."""

    @model_validator(mode="after")
    def _trains_on_one_reward(self) -> Self:
        if self.function is not None and self.control != "none":
            raise ValueError(f"function and control = {self.control!r} both replace the scores: choose one")
        return self

    def token(self) -> str | None:
        """The experiment's token, or None without a `token_file`.

        Raises:
            SettingsError: The file cannot be read.
        """
        if self.token_file is None:
            return None
        try:
            return self.token_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(f"reward.token_file: {self.token_file}: {error.strerror}") from error


class TeacherSettings(_Table):
    """The slow teacher of reward.voters = "teacher". Defaults are those of Co-rewarding's paper (arXiv 2508.00410)."""

    decay_start: float = Field(0.99, ge=0, le=1)
    """w at the start of the run: after each update of the Solver, teacher <- w teacher + (1 - w) Solver."""
    decay_end: float = Field(0.9999, ge=0, le=1)
    """w at the end; between them it follows half a cosine of the run's progress."""


class RolloutSettings(_Table):
    """The rollout server, and how it samples."""

    url: ServerUrls = "http://127.0.0.1:8020"
    """Address of the rollout server; separate several replicas of one base model by commas."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature of both roles."""
    solver_max_tokens: int = Field(256, ge=1)
    """Maximum new tokens of a Solver rollout."""
    proposer_max_tokens: int = Field(128, ge=1)
    """Maximum new tokens of a Proposer rollout, and of a paraphrase."""
    judge_max_tokens: int = Field(1024, ge=1)
    """Maximum new tokens of a judge's reply, for a config that needs the signal judge."""
    max_consecutive_failed_proposals: int = Field(50, ge=1)
    """The run stops after more consecutive proposals than this without a question."""
    min_pixels: int | None = Field(None, ge=1)
    """Smallest area of an image for the policy, in pixels; a smaller image is enlarged (default: the checkpoint's)."""
    max_pixels: int | None = Field(None, ge=1)
    """Largest area of an image for the policy, in pixels; a larger image is scaled down (default: the checkpoint's).
    A Qwen2.5-VL image token is 28 x 28 pixels. Start the rollout server with the same --min-pixels and --max-pixels."""
    context_tokens: int | None = Field(None, ge=1)
    """The model context: the most tokens that a prompt with its image and its completion may have together, as the
    rollout server's --max-model-len (default: what the server says)."""
    canary_every: int = Field(1, ge=0)
    """Check every n-th published adapter: a short greedy completion must match the trainer's own policy. 0: never."""
    canary_tolerance: float = Field(0.1, gt=0)
    """Largest log-probability difference that the check allows, nats per token; use 1e-3 if both sides run float32."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_pixels is not None and self.max_pixels is not None and self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} is above max_pixels {self.max_pixels}")
        return self


class ViewSettings(_Table):
    """Views of a question: other forms of it, whose answers judge each other (docs/views.md)."""

    names: tuple[str, ...] = ()
    """The views of each of the Solver's questions, such as plain, mirror or module:function of your own; each gets an
    equal part of the group. A name may be repeated. Without any, a group has one prompt."""
    contrast: str | None = None
    """A view that must change the answer: blank, foreign, or module:function of your own. An answer is paid less, the
    more often it is given to this view."""
    contrast_weight: float = Field(1.0, gt=0)
    """k: the share of the contrast's rollouts with an answer, times k, is subtracted from the answer's reward."""
    contrast_rollouts: int | None = Field(None, ge=1)
    """Rollouts of the contrast per group, which are not trained; at most group_size (default: those of one view)."""

    @property
    def count(self) -> int:
        """V: prompts per group."""
        return max(len(self.names), 1)


class DatasetSettings(_Table):
    """How a dataset is read through `datasets`; a folder of image files needs none of this (docs/data.md)."""

    subset: str | None = None
    """Subset of a dataset that has several (also called its configuration)."""
    split: str | None = None
    """Split, as `train` or `train[:1000]` (default: the only one, or train)."""
    revision: str | None = None
    """Branch, tag or commit of a dataset of the hub (default: main)."""
    streaming: bool = False
    """Read the dataset as it is used, and keep no copy of it on this machine."""


class ImageDataSettings(DatasetSettings):
    """How a dataset of images is read through `datasets`; a folder of image files needs none of this (docs/data.md)."""

    column: str | None = None
    """Column of the images (default: the only one that holds images)."""
    shuffle_buffer: int = Field(512, ge=1)
    """With streaming: rows that are read at a time, kept in memory, and shuffled among themselves."""


class ThroughputSettings(_Table):
    """The speed from which --dry-run estimates the time of a run; nothing else reads it."""

    rollout_tokens_per_s: float | None = Field(None, gt=0)
    """Tokens that the rollout servers sample per second, all of them together."""
    trained_tokens_per_s: float | None = Field(None, gt=0)
    """Tokens of prompts and completions that the trainer trains on per second, the reference's pass included."""


class CollapseSettings(_Table):
    """The guard that marks the onset of collapse."""

    window: int = Field(Thresholds.window, ge=2)
    """Solver updates that are averaged; the first window is the baseline."""
    entropy_share: float = Field(Thresholds.entropy_share, ge=0, le=1)
    """Entropy of the answers below this share of the baseline is a sign."""
    dominant_share: float = Field(Thresholds.dominant_share, ge=0, le=1)
    """Dominant share above this is a sign."""
    distinct_share: float = Field(Thresholds.distinct_share, ge=0, le=1)
    """Share of distinct questions below this share of the baseline is a sign."""
    length_share: float = Field(Thresholds.length_share, ge=0, le=1)
    """Completion length below this share of the baseline is a sign."""


class RunSettings(BaseSettings):
    """Train a Solver and a Proposer on unlabelled images, with a running rollout server and reward server."""

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
    """The base model, a vision-language decoder (docs/models.md): a folder or a hub id."""
    images: Path
    """Unlabelled images: a folder, a dataset (a folder or a hub id), a parquet or JSON-lines file of images or of paths
    relative to it, or a tar (docs/data.md)."""
    max_consecutive_unreadable_images: int = Field(10, ge=1)
    """The run stops after more consecutive images than this that can no longer be read."""
    run_folder: Path
    """Folder that receives everything the run writes; it must not hold another run."""
    adapters_folder: Path | None = None
    """Folder for published adapters; the rollout server must see it (default: adapters/ in the run folder)."""
    labels: str | None = None
    """Shadow labels, logged and never used as a reward: a JSON-lines file of questions, or module:function."""
    updates: int = Field(3000, ge=1)
    """Updates of both roles together; more than before extend the run that --resume continues."""
    progress_updates: int | None = Field(None, ge=1)
    """Updates in which t, the progress of the run, rises from 0 to 1 (default: updates). An extended run keeps those of
    its first start."""
    proposer_every: int = Field(5, ge=0)
    """Solver updates before each Proposer update; 0 never trains the Proposer."""
    group_size: int = Field(5, ge=2)
    """N: rollouts per group."""
    groups_per_update: int = Field(1, ge=1)
    """Groups per update: questions for the Solver, images for the Proposer."""
    proposer_groups_per_update: int | None = Field(None, ge=1)
    """Images per Proposer update, if fewer (default: groups_per_update). Each costs group_size questions, and each
    question group_size Solver rollouts."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Rollouts per forward and backward pass; must divide the rollouts of an update (default: all of them)."""
    advantage: Literal["group", "moving_baseline"] = "group"
    """group: rewards normalised within their group (GRPO); moving_baseline: rewards minus a moving average per role
    (REINFORCE, as published for EvoLMM)."""
    overlap: bool = False
    """Collect the next update's groups during training; rollouts are then at most one update stale. With overlap, a
    resumed run samples other rollouts than an uninterrupted one."""
    seed: int = Field(0, ge=0)
    """Seed of data order, sampling, adapters and controls."""
    retry_budget_s: float = Field(300.0, ge=0)
    """Seconds to retry an unreachable or overloaded server before the run is saved and ends."""
    request_timeout_s: float = Field(300.0, gt=0)
    """Timeout of one request to either server."""
    save_every: int = Field(100, ge=1)
    """Updates between checkpoints."""
    keep_checkpoints: int = Field(2, ge=1)
    """Newest checkpoints to keep. Besides the newest one, those at multiples of save_every are kept before others, such
    as one that an interruption wrote."""
    resume: bool = False
    """Continue the run in run_folder from its newest complete checkpoint."""
    accept_changed_images: bool = False
    """With resume: go on although images were added, removed or replaced. The order of the images is another one from
    then on."""
    cpu_threads: int | None = Field(None, ge=1)
    """torch's threads on a CPU (default: torch's choice). If a server shares the cores, fewer are faster."""
    dry_run: bool = False
    """Print the resolved settings, the trainable parameters, the memory and the time needed, then exit. Of the model
    it reads the config, the processor and the tokenizer, and no weights. A rollout server that rollout.url names is
    asked for its context."""
    data: ImageDataSettings = Field(default_factory=ImageDataSettings)
    """How a dataset of images is read."""
    lora: LoraSettings = Field(default_factory=LoraSettings)
    """Adapters."""
    kl: KlSettings = Field(default_factory=KlSettings)
    """KL penalty to the base model."""
    reward: RewardSettings = Field(default_factory=RewardSettings)
    """Reward server."""
    teacher: TeacherSettings = Field(default_factory=TeacherSettings)
    """Slow teacher."""
    rollout: RolloutSettings = Field(default_factory=RolloutSettings)
    """Rollout server."""
    views: ViewSettings = Field(default_factory=ViewSettings)
    """Views of each question."""
    collapse: CollapseSettings = Field(default_factory=CollapseSettings)
    """Guard against collapse."""
    throughput: ThroughputSettings = Field(default_factory=ThroughputSettings)
    """Speed, for the estimate of --dry-run."""
    stop_on_collapse: bool = False
    """End the run at the onset of collapse."""
    grpo: NamedValues = Field(default_factory=dict)
    """Any field of TRL's GRPOConfig that no setting above controls."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reads flags and the file alone: no environment variable changes an experiment."""
        return (init_settings,)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.rollouts_per_update % self.rollouts_per_micro_batch:
            raise ValueError(
                f"micro_batch_size {self.rollouts_per_micro_batch} does not divide the {self.rollouts_per_update} "
                "rollouts of an update (group_size x groups_per_update)"
            )
        if self.group_size % self.views.count:
            raise ValueError(
                f"group_size {self.group_size} is not divisible by the {self.views.count} views of views.names: each "
                "has an equal part of the group"
            )
        if (self.views.contrast_rollouts or 0) > self.group_size:
            raise ValueError(
                f"views.contrast_rollouts {self.views.contrast_rollouts} is above group_size {self.group_size}"
            )
        if self.data.streaming and self.views.contrast == "foreign":
            raise ValueError(
                'views.contrast = "foreign" takes any image of the run, which data.streaming cannot give'
            )
        if self.proposer_every and (self.proposer_groups_per_update or 0) > self.groups_per_update:
            raise ValueError(
                f"proposer_groups_per_update {self.proposer_groups_per_update} is above groups_per_update "
                f"{self.groups_per_update}"
            )
        return self

    @property
    def experiment(self) -> dict[str, Any]:
        """The settings that shape the result, as JSON; addresses, timeouts and bookkeeping are left out."""
        document: dict[str, Any] = self.model_dump(
            mode="json",
            exclude={
                **dict.fromkeys(_NOT_PART_OF_THE_EXPERIMENT, True),
                "reward": {"url", "token_file", "source"},
                "rollout": {"url", "context_tokens", "canary_every", "canary_tolerance"},
                "data": {"revision"},  # images.json holds what the images are
                "grpo": {"use_cpu"},  # where it runs, as `accelerate` or a visible GPU also decide
            },
        )
        document["progress_updates"] = self.progress_updates or self.updates
        return document

    @property
    def source(self) -> str:
        """Name of the run in the reward server's ledger."""
        return self.reward.source or self.run_folder.resolve().name

    @property
    def rollout_server_flags(self) -> list[str]:
        """The flags with which a rollout server can serve this run, without its address."""
        flags = {
            "--model": self.model,
            "--max-lora-rank": self.lora.r,
            "--min-pixels": self.rollout.min_pixels,
            "--max-pixels": self.rollout.max_pixels,
        }
        return [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]

    @property
    def rollouts_per_update(self) -> int:
        """Rollouts that one update trains on."""
        return self.group_size * self.groups_per_update

    @property
    def rollouts_per_view(self) -> int:
        """Rollouts of each view in a group; all of them without views."""
        return self.group_size // self.views.count

    @property
    def rollouts_per_micro_batch(self) -> int:
        """Rollouts per forward and backward pass."""
        return self.micro_batch_size or self.rollouts_per_update

    def progress_at(self, update: int) -> float:
        """t in [0, 1]: the share of the run that is done when update `update` (from 0) starts."""
        return min(update / max((self.progress_updates or self.updates) - 1, 1), 1.0)


_NOT_PART_OF_THE_EXPERIMENT = (
    "config", "run_folder", "adapters_folder", "labels", "cpu_threads", "save_every", "keep_checkpoints", "resume",
    "retry_budget_s", "request_timeout_s", "stop_on_collapse", "dry_run", "accept_changed_images",
    "max_consecutive_unreadable_images", "throughput",
)  # fmt: skip


def read_config(flags: Sequence[str]) -> dict[str, Any]:
    """The settings in the TOML file that the flag `--config` names; none without that flag.

    Raises:
        SettingsError: The flag has no file, or the file cannot be read or is not TOML.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", type=Path)
    try:
        config = parser.parse_known_args(flags)[0].config
    except argparse.ArgumentError as error:
        raise SettingsError(str(error)) from error
    return read_toml(config) if config else {}


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        SettingsError: The file cannot be read or is not TOML; the message names the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"--config: there is no file {path}") from error
    except OSError as error:
        raise SettingsError(f"--config: {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise SettingsError(f"--config: {path} is not TOML: {error}") from error
