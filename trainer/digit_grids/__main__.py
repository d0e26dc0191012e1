"""The command `render`: writes the pictures."""

import sys
from pathlib import Path

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, CliApp, CliSubCommand, SettingsConfigDict


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


class Commands(BaseSettings):
    """Grids of handwritten digits."""

    model_config = SettingsConfigDict(
        cli_prog_name="python -m trainer.digit_grids", cli_kebab_case=True, cli_implicit_flags=True
    )

    render: CliSubCommand[Render]

    def cli_cmd(self) -> None:
        """Run the subcommand that was named."""
        CliApp.run_subcommand(self)


def main(arguments: list[str] | None = None) -> None:
    """Run one command."""
    CliApp.run(Commands, cli_args=sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    main()
