"""The trainer: the Proposer-Solver loop on TRL's GRPO, with both servers over HTTP."""

import os
import warnings

from ireasoner.compat.repairs import install

install()
# No library may send telemetry.
for _variable in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "TRL_EXPERIMENTAL_SILENCE"):
    os.environ.setdefault(_variable, "1")
# TRL's warning concerns its own vLLM modes; this trainer reaches vLLM over HTTP only.
warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")
warnings.filterwarnings("ignore", message="'pin_memory' argument is set as true but no accelerator is found")
