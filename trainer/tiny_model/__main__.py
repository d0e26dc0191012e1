"""Commands: `warm-start` builds a tiny model, `score` examines it."""

import sys
from pathlib import Path

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, CliApp, CliSubCommand, SettingsConfigDict

from trainer.tiny_model.task import TASKS, TaskName
from trainer.tiny_model.warm_start import WarmStart, warm_start


class WarmStartCommand(WarmStart):
    """Build a tiny model and teach it a task, wrong on purpose; about seven minutes on one core."""

    out: Path = Field(description="folder of the checkpoint to write")

    def cli_cmd(self) -> None:
        """Train and save."""
        from trainer.tiny_model.model import build_model, build_processor

        processor = build_processor(TASKS[self.task])
        model = build_model(processor, self.seed)
        warm_start(model, processor, self, lambda line: print(line, flush=True))
        model.save_pretrained(self.out)
        processor.save_pretrained(self.out)
        print(f"checkpoint in {self.out}")


class ScoreCommand(BaseModel):
    """Ask a checkpoint about held-out pictures and print what it scores."""

    task: TaskName = Field("sums", description="what is asked")
    model: Path | None = Field(None, description="folder of the checkpoint (default: the task's in models/)")
    questions: int = Field(400, ge=1, description="how many held-out pictures, with one question each")
    samples: int = Field(8, ge=1, description="samples for each question")
    seed: int = Field(0, description="seed of the pictures and of sampling")

    def cli_cmd(self) -> None:
        """Score and print."""
        from collections import Counter

        import torch

        from trainer.tiny_model.evaluation import proposals, score
        from trainer.tiny_model.model import load

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
        cli_prog_name="python -m trainer.tiny_model", cli_kebab_case=True, cli_implicit_flags=True
    )

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
