"""The command `rollout-server`: serves a base model and its adapters with vLLM."""

import logging
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ireasoner.compat.extras import needs_extra

with needs_extra("rollout-server", command="rollout-server"):
    from ireasoner.compat.flags import FlagsError
    from ireasoner.rollout_server.launcher import Launcher
    from ireasoner.rollout_server.settings import read_settings, vllm_version

USAGE_ERROR = 2


def main() -> None:
    """Runs the server and exits with its code; 2 if an option is wrong or vLLM is not installed."""
    if sys.argv[1:2] == ["--version"]:
        print(version("ireasoner"))
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    try:
        settings = read_settings(sys.argv[1:])
        vllm_version()
    except PackageNotFoundError:
        print(
            "rollout-server: vLLM is not installed: pip install ./clients '.[gpu]' or '.[cpu]'",
            file=sys.stderr,
        )
        sys.exit(USAGE_ERROR)
    except FlagsError as error:
        for line in str(error).splitlines():
            print(f"rollout-server: {line}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    if settings.model.startswith((".", "/", "~")) and not Path(settings.model).expanduser().is_dir():
        print(f"rollout-server: --model: no such folder: {settings.model}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    sys.exit(Launcher(settings).run())


if __name__ == "__main__":
    main()
