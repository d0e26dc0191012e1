"""The command `reward-server`.

The worker, which loads the embedder, starts before most modules of the server are imported: both take about a second.
"""

import asyncio
import gc
import json
import sys
from collections.abc import Sequence
from importlib.metadata import version

from ireasoner.compat.extras import needs_extra

with needs_extra("reward-server", command="reward-server"):
    from ireasoner.compat.flags import FlagsError
    from ireasoner.reward_server.embedding.worker_backend import launched_backend
    from ireasoner.reward_server.observability import logs
    from ireasoner.reward_server.settings import RewardServerSettings, read_settings

REQUEST_OBJECTS = 50_000
"""Objects of a large request: the garbage collector looks for cycles after this many, not after 700."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server until SIGTERM or SIGINT; returns 0, 1 if it failed, 2 if an option is wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--version"]:
        print(version("ireasoner"))
        return 0
    try:
        settings = read_settings(words)
    except FlagsError as error:
        for line in str(error).splitlines():
            print(f"reward-server: {line}", file=sys.stderr)
        return 2
    if settings.print_openapi:
        _print_openapi(settings)
        return 0
    logs.configure(settings.log_level, settings.log_format)
    return _print_new_token(settings) if settings.new_token is not None else asyncio.run(_serve(settings))


async def _serve(settings: RewardServerSettings) -> int:
    """Runs the server; returns the exit status."""
    try:
        backend = await launched_backend(settings.embedder_spec)
    except OSError as error:  # there is no memory, or no process left
        print(f"reward-server: the embedding worker could not be started: {error}", file=sys.stderr)
        return 1
    try:
        with needs_extra("reward-server", command="reward-server"):
            from ireasoner.reward_server.api.tokens import UnusableTokens
            from ireasoner.reward_server.ledger.schema import LedgerUnusable
            from ireasoner.reward_server.scoring.registry import UnreadableConfigs
            from ireasoner.reward_server.server import CannotListen, Server, listen
        try:
            with needs_extra("reward-server,otel", command="reward-server --open-telemetry"):
                server = Server(settings, backend=backend)
        except (UnusableTokens, UnreadableConfigs, LedgerUnusable) as error:
            print(f"reward-server: {error}", file=sys.stderr)
            return 2
        try:
            listening = listen(settings.host, settings.port)
        except CannotListen as error:
            print(f"reward-server: {error}", file=sys.stderr)
            return 1
        gc.freeze()  # what is loaded by now stays: the collector need not visit it again
        gc.set_threshold(REQUEST_OBJECTS)
        await server.serve(sockets=[listening])
    finally:
        await backend.stop()
    if server.failure is not None:
        reason = " ".join(str(server.failure).split())
        print(f"reward-server: {settings.embedder}: {reason}", file=sys.stderr)
    return 0 if server.started and server.failure is None else 1


def _print_openapi(settings: RewardServerSettings) -> None:
    with needs_extra("reward-server", command="reward-server"):
        from ireasoner.reward_server.app import create_app
    print(json.dumps(create_app(settings.model_copy(update={"ledger": None})).openapi(), indent=2))


def _print_new_token(settings: RewardServerSettings) -> int:
    """Prints a new token alone on standard output, and on standard error if it is not the experiment's first."""
    from ireasoner.reward_server.api.tokens import UnusableTokens, add_token, count_tokens

    file, experiment = settings.tokens_file, settings.new_token
    assert file is not None
    assert experiment is not None
    try:
        before = count_tokens(file, experiment)
        print(add_token(file, experiment))
    except UnusableTokens as error:
        print(f"reward-server: {error}", file=sys.stderr)
        return 2
    if before:
        others = "the other one stays" if before == 1 else f"the other {before} stay"
        reason = f"{experiment!r} exists already: this is a further token, and {others} valid"
        print(f"reward-server: {reason}; to revoke one, delete its line in {file}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
