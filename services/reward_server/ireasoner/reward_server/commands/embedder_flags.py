"""The flags of commands that score: which embedder, as the server's."""

from dataclasses import fields
from pathlib import Path

from pydantic import Field, ValidationError

from ireasoner.compat.flags import describe
from ireasoner.reward_server.commands.command import CommandSettings, InputError
from ireasoner.reward_server.embedding.embedder import EmbedderSpec, Runtime
from ireasoner.reward_server.settings import RewardServerSettings


class EmbedderFlags(CommandSettings):
    """The embedder of a command that scores in its own process."""

    configs_folder: Path | None = None
    """Folder of registered configs, as the server's."""
    embedder: str = "minilm"
    """Embedder, as the server's; with another one than the server's, rewards change for that reason, too."""
    token_mean_checkpoint: Path | None = None
    """For token-mean: a checkpoint of the policy, as the server's."""
    runtime: Runtime = "auto"
    """Runtime and precision of the embedder, as the server's."""
    device: str = "auto"
    """Torch device of the embedder, as the server's."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of the embedder."""

    def server_settings(self) -> RewardServerSettings:
        """The settings of a server that scores alike, and records nothing; raises InputError if they are wrong."""
        names = (*(each.name for each in fields(EmbedderSpec)), "configs_folder")
        try:
            return RewardServerSettings(**{name: getattr(self, name) for name in names}, ledger=None)
        except ValidationError as error:
            raise InputError(describe(error, RewardServerSettings, flags=True)) from error
