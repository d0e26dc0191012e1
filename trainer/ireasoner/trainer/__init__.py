"""The trainer: the Proposer-Solver loop on TRL's GRPO, against both servers over HTTP."""

import os
import warnings

from ireasoner.compat.repairs import install

install()
# Nothing that a run depends on may call home.
for _variable in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "TRL_EXPERIMENTAL_SILENCE"):
    os.environ.setdefault(_variable, "1")
# TRL names the vLLM versions that its own vLLM modes were tried with; this trainer reaches vLLM over HTTP only.
warnings.filterwarnings("ignore", message="TRL currently supports vLLM versions")
warnings.filterwarnings("ignore", message="'pin_memory' argument is set as true but no accelerator is found")
