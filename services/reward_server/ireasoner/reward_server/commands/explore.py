"""`ireasoner explore`: the reward server's pages over ledgers that are only read."""

import logging
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pydantic import Field
from pydantic_settings import BaseSettings, CliImplicitFlag, CliPositionalArg, SettingsConfigDict

from ireasoner.compat.flags import FlagsError, read_flags
from ireasoner.reward_server.__main__ import Server, listen, reason_of
from ireasoner.reward_server.api.tokens import UnusableTokens
from ireasoner.reward_server.ledger.ledgers import check_folders
from ireasoner.reward_server.ledger.schema import LedgerUnusable
from ireasoner.reward_server.observability import logs
from ireasoner.reward_server.settings import RewardServerSettings

log = logging.getLogger(__name__)

USAGE_ERROR = 2


class ExploreSettings(BaseSettings):
    """Show the groups of one or several ledgers in a browser. Nothing is recorded, and no ledger is changed."""

    model_config = SettingsConfigDict(
        cli_prog_name="ireasoner explore",
        env_prefix="IREASONER_EXPLORE_",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        extra="forbid",
        frozen=True,
    )

    folders: CliPositionalArg[list[Path]] = Field(
        min_length=1, description="Folders of ledgers, or folders of such folders."
    )
    port: int = Field(8020, ge=0, le=65535, description="Port to listen on; 0 picks a free port.")
    host: str = Field(
        "127.0.0.1", description="Address to listen on; beyond loopback it needs --tokens-file."
    )
    tokens_file: Path | None = Field(
        None, description="The reward server's file of tokens; each then sees its own experiment."
    )
    embedder: str = Field(
        "minilm", min_length=1, description="Embedder for comparisons, as of the reward server."
    )
    open: CliImplicitFlag[bool] = Field(False, description="Open the page in the default browser.")


class Explorer(Server):
    """The server over ledgers that are only read. If its embedder cannot be loaded, all but comparisons works."""

    def __init__(self, settings: ExploreSettings) -> None:
        self._opens = settings.open
        served = RewardServerSettings(
            host=settings.host,
            port=settings.port,
            tokens_file=settings.tokens_file,
            embedder=settings.embedder,
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
    """Serves the pages until SIGTERM or SIGINT; ends the process with 1 if it failed, 2 if an option is wrong."""
    try:
        settings = read_flags(ExploreSettings, words)
        check_folders(settings.folders)
        logs.configure("warning", "text")
        server = Explorer(settings)
    except FlagsError as error:
        _end(f"{error}\n`ireasoner explore --help` lists the flags", USAGE_ERROR)
    except (LedgerUnusable, UnusableTokens, ValueError) as error:
        _end(str(error), USAGE_ERROR)
    try:
        listening = listen(settings.host, settings.port)
    except OSError as error:
        _end(
            f"cannot listen on port {settings.port} of {settings.host}: {reason_of(error)}; choose another with --port",
            1,
        )
    server.run(sockets=[listening])


def _end(message: str, status: int) -> NoReturn:
    for line in message.splitlines():
        print(f"ireasoner explore: {line}", file=sys.stderr)
    sys.exit(status)
