"""Commands: `render` writes the demo's pictures, `warm-start` builds a tiny model, `score` evaluates it."""

import sys
from pathlib import Path

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, CliApp, CliSubCommand, SettingsConfigDict

from ireasoner.compat.flags import read_flags
from ireasoner.trainer.console import errors_reported
from ireasoner.trainer.tiny_model.task import TASKS, TaskName
from ireasoner.trainer.tiny_model.warm_start import WarmStart, warm_start


class Render(BaseModel):
    """Write grids of digits as folders of PNG files, `unlabelled/` and `held_out/`."""

    out: Path = Field(description="folder to write into")
    unlabelled: int = Field(2000, ge=0, description="number of grids to train on")
    held_out: int = Field(400, ge=0, description="number of grids to evaluate on, with one question each")
    seed: int = Field(0, description="seed of the grids")

    def cli_cmd(self) -> None:
        """Write both folders."""
        from ireasoner.trainer.worlds.digit_grids.folders import write_held_out, write_unlabelled

        write_unlabelled(self.out / "unlabelled", self.unlabelled, self.seed)
        write_held_out(self.out / "held_out", self.held_out, self.seed)
        print(f"{self.unlabelled} grids in {self.out / 'unlabelled'}")
        print(f"{self.held_out} grids with questions in {self.out / 'held_out'}")


class WarmStartCommand(WarmStart):
    """Build a tiny model and teach it a task, wrong on purpose; takes about nine minutes on one core."""

    out: Path = Field(description="folder to write the checkpoint to")
    begin_with: Path | None = Field(
        None, description="folder of another tiny model to take the initial weights from"
    )

    def cli_cmd(self) -> None:
        """Train and save."""
        from ireasoner.trainer.tiny_model.model import adopt, build_model, build_processor

        processor = build_processor(TASKS[self.task])
        model = build_model(processor, self.seed)
        if self.begin_with is not None:
            adopt(model, processor, self.begin_with)
        warm_start(model, processor, self, lambda line: print(line, flush=True))
        model.save_pretrained(self.out)
        processor.save_pretrained(self.out)
        print(f"checkpoint in {self.out}")


class ScoreCommand(BaseModel):
    """Evaluate a checkpoint on held-out pictures and print its scores."""

    task: TaskName = Field("sums", description="task to score")
    model: Path | None = Field(None, description="folder of the checkpoint (default: the task's in models/)")
    questions: int = Field(400, ge=1, description="number of held-out pictures, with one question each")
    samples: int = Field(8, ge=1, description="samples per question")
    seed: int = Field(0, description="seed of the pictures and of sampling")

    def cli_cmd(self) -> None:
        """Score and print."""
        from collections import Counter

        import torch

        from ireasoner.trainer.tiny_model.evaluation import proposals, score
        from ireasoner.trainer.tiny_model.model import load

        torch.set_num_threads(1)
        task = TASKS[self.task]
        model, processor = load(self.model or Path("models") / task.model)
        asked = task.world.scored(self.questions, self.seed)
        print(score(model, processor, asked, self.samples, self.seed).lines())
        counts = Counter(proposals(model, processor, [one.image for one in asked], self.seed))
        for question, count in counts.most_common(20):
            print(f"proposed {count} times: {question}")


class Commands(BaseSettings):
    """Tiny models that are wrong on purpose."""

    model_config = SettingsConfigDict(
        cli_prog_name="python -m ireasoner.trainer.tiny_model",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_enforce_required=True,
    )

    render: CliSubCommand[Render] = Field(description=Render.__doc__)
    warm_start: CliSubCommand[WarmStartCommand] = Field(description=WarmStartCommand.__doc__)
    score: CliSubCommand[ScoreCommand] = Field(description=ScoreCommand.__doc__)


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    words = sys.argv[1:] if arguments is None else arguments
    with errors_reported("python -m ireasoner.trainer.tiny_model"):
        CliApp.run_subcommand(read_flags(Commands, words or ["--help"]))


if __name__ == "__main__":
    main()
