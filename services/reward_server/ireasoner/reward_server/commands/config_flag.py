"""A scoring config as the value of a flag."""

import json

from pydantic import ValidationError

from ireasoner.reward_server.commands.command import InputError
from ireasoner.reward_server.scoring_config import ConfigOverrides


def overrides(flag: str, text: str) -> ConfigOverrides:
    """The config that a flag's value names or spells out; raises InputError if it does neither."""
    try:
        return ConfigOverrides.model_validate(
            json.loads(text) if text.lstrip().startswith("{") else {"preset": text}
        )
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InputError(f"--{flag}: {faults}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"--{flag}: not JSON: {error}") from error
