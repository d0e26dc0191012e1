"""The command `ireasoner explore`: the reward server's pages over ledgers that are only read."""

import logging
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from ireasoner.compat.flags import describe
from ireasoner.reward_server.api.tokens import UnusableTokens
from ireasoner.reward_server.commands.command import (
    DONE,
    CommandSettings,
    InputError,
    WorkFailed,
    run_command,
)
from ireasoner.reward_server.ledger.ledgers import check_folders
from ireasoner.reward_server.observability import logs
from ireasoner.reward_server.server import CannotListen, Server, listen
from ireasoner.reward_server.settings import RewardServerSettings

log = logging.getLogger(__name__)


class ExploreSettings(CommandSettings):
    """Show the groups of one or several ledgers in a browser. Nothing is recorded, and no ledger is changed.

    Exit status: 0 after SIGTERM or Ctrl-C; 1 it cannot listen on the port; 2 an input is wrong.
    """

    model_config = SettingsConfigDict(cli_prog_name="ireasoner explore", env_prefix="IREASONER_EXPLORE_")

    folders: CliPositionalArg[list[Path]] = Field(min_length=1)
    """Folders of ledgers, or folders of such folders."""
    port: int = Field(8030, ge=0, le=65535)
    """Port to listen on; 0 picks a free port."""
    host: str = "127.0.0.1"
    """Address to listen on; beyond loopback it needs --tokens-file."""
    tokens_file: Path | None = None
    """The reward server's file of tokens; each then sees its own experiment."""
    embedder: str = Field("minilm", min_length=1)
    """Embedder for comparisons, as of the reward server; the pages work before it is loaded."""
    open: bool = False
    """Open the page in the default browser."""


class Explorer(Server):
    """The server over ledgers that are only read. If its embedder cannot be loaded, all but comparisons works.

    Raises:
        ValidationError: The host is beyond loopback, and there are no tokens.
        UnusableTokens: The file of tokens cannot be read.
    """

    def __init__(self, settings: ExploreSettings) -> None:
        self._opens = settings.open
        served = RewardServerSettings(
            host=settings.host,
            port=settings.port,
            tokens_file=settings.tokens_file,
            embedder=settings.embedder,
            ledger=None,
            drain_notice_s=0,
            shutdown_timeout_s=5,
        )
        super().__init__(served, ledger_folders=settings.folders)

    def fail(self, error: Exception) -> None:
        """Goes on without an embedder."""
        log.warning("comparisons need the embedder, which could not be loaded: %s", error)

    def announce(self, url: str) -> None:
        """Prints the page's address, and opens it if that was asked for."""
        page = f"{url}/explore"
        print(f"ireasoner explore: {page}", flush=True)
        if self._opens:
            webbrowser.open(page)


def main(words: Sequence[str]) -> None:
    """Runs the command."""
    run_command("ireasoner explore", ExploreSettings, _explore, words)


def _explore(settings: ExploreSettings) -> int:
    check_folders(settings.folders)
    logs.configure("warning", "text")
    try:
        server = Explorer(settings)
    except ValidationError as error:
        raise InputError(describe(error, RewardServerSettings)) from error
    except UnusableTokens as error:
        raise InputError(str(error)) from error
    try:
        listening = listen(settings.host, settings.port)
    except CannotListen as error:
        raise WorkFailed(str(error)) from error
    server.run(sockets=[listening])
    return DONE
