"""The settings of `ireasoner demo`, `evaluate`, `export`, `graft` and `report`; each field is a flag.

Nothing heavy is imported here, so that `--help` answers at once.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, CliPositionalArg, SettingsConfigDict

from ireasoner.trainer.evaluation import Side
from ireasoner.trainer.evaluation.columns import QuestionColumns
from ireasoner.trainer.evaluation.matching import Matching
from ireasoner.trainer.server_url import ServerUrl
from ireasoner.trainer.settings import DatasetSettings, ImageDataSettings, Role

_HERE = Path(__file__).resolve().parent


class CommandSettings(BaseSettings):
    """What the settings of these commands have in common."""

    model_config = SettingsConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
    )


class DemoSettings(CommandSettings):
    """Run the whole loop on this machine: start the servers, evaluate, train, evaluate again, write a report.

    By default the images are grids of handwritten digits, and the evaluation uses held-out grids, whose answers the
    training never sees. The demo stops every process that it started.
    """

    model_config = SettingsConfigDict(cli_prog_name="ireasoner demo", env_prefix="IREASONER_DEMO_")

    out: Path = Path("runs/demo")
    """Run folder; if it exists, a number is appended."""
    config: Path = _HERE / "demo.toml"
    """TOML file with the settings of the run."""
    model: str = str(_HERE / "demo_model")
    """Base model: a folder or a hub id."""
    images: Path | None = None
    """Unlabelled images, as `ireasoner train` takes them (default: 2,000 grids of handwritten digits)."""
    data: ImageDataSettings = Field(default_factory=ImageDataSettings)
    """How a dataset of images is read."""
    questions: Path | None = None
    """JSON-lines file of labelled questions for the evaluation (default: held-out grids, unless --images is given)."""
    updates: int | None = Field(None, ge=1)
    """Number of updates (default: the config's)."""
    groups_per_update: int | None = Field(None, ge=1)
    """Groups of one update, each about a different image (default: the config's); lower it for fewer images."""
    evaluation_questions: int = Field(400, ge=1)
    """Number of questions in the evaluation."""
    samples: int = Field(8, ge=1)
    """Rollouts per question of the evaluation, at temperature 1."""
    control: Literal["none", "random"] = "none"
    """random: train on random rewards instead; this control should gain nothing."""
    seed: int | None = Field(None, ge=0)
    """Seed of the run (default: the config's)."""

    @model_validator(mode="after")
    def _evaluation_has_questions(self) -> Self:
        unused = sorted(self.model_fields_set & {"samples", "evaluation_questions"})
        if unused and self.images is not None and self.questions is None:
            flag = unused[0].replace("_", "-")
            raise ValueError(f"--{flag} needs --questions: without it, a demo on --images evaluates nothing")
        if self.images is None and self.data != ImageDataSettings():
            raise ValueError("data: it says how --images is read: give both, or neither")
        return self


class EvaluateSettings(CommandSettings):
    """Measure a served policy's accuracy on labelled questions: greedily, and over N samples at temperature 1."""

    model_config = SettingsConfigDict(
        cli_prog_name="ireasoner evaluate",
        env_prefix="IREASONER_EVALUATE_",
        env_prefix_target="all",
        populate_by_name=True,
    )

    questions: Path
    """Labelled questions: a JSON-lines file of {"image", "question", "answer", "type"?, "choices"?, "matching"?} with
    paths of images relative to it, or a dataset with such columns (docs/data.md)."""
    columns: QuestionColumns = Field(default_factory=QuestionColumns)
    """Names of the columns, where they are other ones."""
    data: DatasetSettings = Field(default_factory=DatasetSettings)
    """How a dataset is read."""
    matching: Matching = "exact"
    """How answers are matched in lines without "matching" ("choice" if they have choices); relaxed is ChartQA's."""
    run_folder: Path | None = None
    """Run that the figures are of; --as says which side. They go into its evaluation.json, which the report shows."""
    as_: Side | None = Field(None, validation_alias="as")
    """before: of the base model, or of --policy; after: of --policy, or of the run's trained Solver, which is loaded
    into the server."""
    url: ServerUrl = "http://127.0.0.1:8020"
    """Address of the server, without /v1."""
    api: Literal["vllm", "openai"] = "vllm"
    """openai: send only the fields of OpenAI's API, for servers that refuse vLLM's; such a server may apply sampling
    defaults of its own."""
    api_key: SecretStr | None = None
    """Bearer token; set IREASONER_EVALUATE_API_KEY instead to keep it off the command line."""
    policy: str | None = None
    """Served name of the policy (default: the base model)."""
    model: str | None = None
    """Base model (folder or hub id), whose placeholder tokens are then never sampled (default: that of the run)."""
    samples: int = Field(8, ge=1)
    """N: rollouts per question at temperature 1."""
    max_tokens: int | None = Field(None, ge=1)
    """Maximum number of new tokens per rollout (default: the Solver's in the run of --run-folder, or 256)."""
    limit: int | None = Field(None, ge=1)
    """Maximum number of questions (default: all)."""
    seed: int = Field(0, ge=0)
    """Seed of the sampled rollouts."""
    retry_budget_s: float = Field(30.0, ge=0)
    """Seconds to keep retrying while the server is unreachable."""
    output: Path | None = None
    """JSON file to write the figures to; every answer goes beside it, to NAME.answers.jsonl."""

    @model_validator(mode="after")
    def _side_belongs_to_a_run(self) -> Self:
        if (self.run_folder is None) != (self.as_ is None):
            raise ValueError("--run-folder and --as belong together: give both, or neither")
        if self.as_ == "after" and self.policy is None and self.api != "vllm":
            raise ValueError("--as after needs --policy with --api openai, which cannot load an adapter")
        return self


class ExportSettings(CommandSettings):
    """Write a trained adapter as a peft folder, or merged into the base model, with a model card."""

    model_config = SettingsConfigDict(cli_prog_name="ireasoner export", env_prefix="IREASONER_EXPORT_")

    run_folder: CliPositionalArg[Path]
    """Run folder."""
    output: Path = Field()
    """Folder to write; must not exist."""
    role: Role = "solver"
    """Role whose adapter is exported."""
    checkpoint: str | None = None
    """Checkpoint to export, by its updates, or before-collapse (default: the adapters of the finished run)."""
    merged: bool = False
    """Write the whole model with the adapter merged in, instead of the adapter alone."""


class GraftSettings(CommandSettings):
    """Give a language model eyes: write a checkpoint of Qwen2.5-VL's architecture that reads grids of digits.

    A small vision tower learns to give each cell of a grid the language model's own embedding of its digit. Then the
    model learns to reason about an image as it does about the same grid in words.
    """

    model_config = SettingsConfigDict(cli_prog_name="ireasoner graft", env_prefix="IREASONER_GRAFT_")

    model: str
    """Text checkpoint of Qwen2.5: a folder, a hub id or a GGUF file; or a checkpoint that this command wrote, which
    only gets a further warm start."""
    output: Path
    """Folder to write; must not exist."""
    tower_updates: int = Field(1000, ge=1)
    """Updates of the vision tower; the default takes some 90 s on one core, whatever the size of the language model."""
    warm_start_updates: int = Field(100, ge=0)
    """Updates of the warm start; 0 leaves it out. With a model of 0.5 billion parameters the default takes half an hour
    on two cores with fast bfloat16, and longer without."""
    prompts_per_update: int = Field(8, ge=1)
    """Prompts in each update of the warm start; memory grows with it."""
    max_new_tokens: int = Field(200, ge=1)
    """Maximum length of a reasoning in the warm start, in tokens."""
    seed: int = Field(0, ge=0)
    """Seed of the tower, the adapter, the grids, the questions and the sampled reasonings."""
    cpu_threads: int | None = Field(None, ge=1)
    """torch's threads in the warm start (default: torch's choice). The tower is trained with one."""


class ReportSettings(CommandSettings):
    """Write the HTML report of a run folder, or of two side by side; a run may still be in progress."""

    model_config = SettingsConfigDict(cli_prog_name="ireasoner report", env_prefix="IREASONER_REPORT_")

    run_folders: CliPositionalArg[list[Path]] = Field(min_length=1, max_length=2)
    """One run folder, or two to compare; differences are the second minus the first."""
    output: Path | None = None
    """File to write (default: report.html in the run folder, or comparison.html in the second of two)."""
