"""Commands: `render` writes the pictures, `warm-start` builds the tiny model, `score` examines it."""

import sys
from pathlib import Path

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, CliApp, CliSubCommand, SettingsConfigDict

from trainer.digit_grids.task import TASKS, TaskName
from trainer.digit_grids.warm_start import WarmStart, warm_start


class Render(BaseModel):
    """Write `unlabelled/` and `held_out/` as folders of PNG files."""

    out: Path = Field(description="folder to write into")
    unlabelled: int = Field(2000, ge=0, description="how many grids to train on")
    held_out: int = Field(400, ge=0, description="how many grids to be examined on, with one question each")
    seed: int = Field(0, description="seed of the layout of digits")

    def cli_cmd(self) -> None:
        """Write both folders."""
        from trainer.digit_grids.folders import write_held_out, write_unlabelled

        write_unlabelled(self.out / "unlabelled", self.unlabelled, self.seed)
        write_held_out(self.out / "held_out", self.held_out, self.seed)
        print(f"{self.unlabelled} grids in {self.out / 'unlabelled'}")
        print(f"{self.held_out} grids with questions in {self.out / 'held_out'}")


class WarmStartCommand(WarmStart):
    """Build the tiny model and teach it the task, wrong on purpose; about seven minutes on one core."""

    out: Path = Field(description="folder of the checkpoint to write")

    def cli_cmd(self) -> None:
        """Train and save."""
        from trainer.digit_grids.model import build_model, build_processor

        processor = build_processor(TASKS[self.task])
        model = build_model(processor, self.seed)
        warm_start(model, processor, self, lambda line: print(line, flush=True))
        model.save_pretrained(self.out)
        processor.save_pretrained(self.out)
        print(f"checkpoint in {self.out}")


class ScoreCommand(BaseModel):
    """Ask a checkpoint about held-out grids and print what it scores."""

    model: Path = Field(Path("models/digit-grids"), description="folder of the checkpoint")
    task: TaskName = Field("sums", description="what is asked")
    questions: int = Field(400, ge=1, description="how many held-out grids, with one question each")
    samples: int = Field(8, ge=1, description="samples for each question")
    seed: int = Field(0, description="seed of the grids and of sampling")

    def cli_cmd(self) -> None:
        """Score and print."""
        from collections import Counter

        import torch

        from trainer.digit_grids.evaluation import proposals, score
        from trainer.digit_grids.folders import held_out
        from trainer.digit_grids.model import load

        torch.set_num_threads(1)
        model, processor = load(self.model)
        asked = list(held_out(self.questions, self.seed, TASKS[self.task].questions))
        print(score(model, processor, asked, self.samples, self.seed).lines())
        counts = Counter(proposals(model, processor, [grid for grid, _ in asked], self.seed))
        for question, count in counts.most_common(20):
            print(f"proposed {count} times: {question}")


class Commands(BaseSettings):
    """Grids of handwritten digits, and the tiny model that reads them."""

    model_config = SettingsConfigDict(
        cli_prog_name="python -m trainer.digit_grids", cli_kebab_case=True, cli_implicit_flags=True
    )

    render: CliSubCommand[Render]
    warm_start: CliSubCommand[WarmStartCommand]
    score: CliSubCommand[ScoreCommand]

    def cli_cmd(self) -> None:
        """Run the subcommand that was named."""
        CliApp.run_subcommand(self)


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    CliApp.run(Commands, cli_args=sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    main()
