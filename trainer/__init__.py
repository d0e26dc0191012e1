"""The trainer: the Proposer-Solver loop on TRL's GRPO, against both servers over HTTP."""

import os

from compat.torchvision_cpu import install

install()
# Nothing that a run depends on may call home.
for _variable in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "TRL_EXPERIMENTAL_SILENCE"):
    os.environ.setdefault(_variable, "1")
