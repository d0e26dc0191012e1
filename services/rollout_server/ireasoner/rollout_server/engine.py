"""The command line and the environment of vLLM."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ireasoner.compat.repairs import environment as repaired
from ireasoner.rollout_server.settings import WARM_UP_VARIABLE, RolloutServerSettings, is_cpu_build
from ireasoner.rollout_server.warm_up import WarmUp

# The CPU build is distributed under another name, which makes its `vllm` command fail: start the module instead.
MODULE = "vllm.entrypoints.openai.api_server"

# The only values that vLLM accepts for --max-lora-rank; the cost of its LoRA kernels grows with the value.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def command(settings: RolloutServerSettings) -> list[str]:
    """The command line of vLLM's server: our defaults first, so that the user's own flags win."""
    flags = [
        *("--model", settings.model),
        *("--host", settings.host),
        *("--port", str(settings.port)),
        "--enable-lora",
        *("--max-lora-rank", str(min(rank for rank in RANKS if rank >= settings.max_lora_rank))),
        *("--max-loras", str(settings.max_loras)),
        # Ignore the sampling defaults of the checkpoint: the request alone decides how to sample.
        *("--generation-config", "vllm"),
        # Log-probabilities of the distribution that is sampled from, after temperature and masks.
        *("--logprobs-mode", "processed_logprobs"),
        *("--middleware", f"{WarmUp.__module__}.{WarmUp.__name__}"),
        "--disable-uvicorn-access-log",
        *("--uvicorn-log-level", "warning"),
    ]
    if is_cpu_build():
        # The worker runs inside the engine's process: half the start-up time, twice the tokens per second on two cores.
        flags += ["--dtype", "float32", "--enforce-eager", "--distributed-executor-backend", "uni"]
        # Chunked prefill rewinds the generator of a request with a seed, which torch's CPU generator does not
        # support: the engine dies ("CPU Generator does not use offset").
        flags += ["--no-enable-chunked-prefill"]
        # Rollouts share their prompt's key-value blocks only if it fills one; vLLM's default for a CPU is 128 tokens.
        flags += ["--block-size", "32"]
    bounds = {"min_pixels": settings.min_pixels, "max_pixels": settings.max_pixels}
    given = {name: pixels for name, pixels in bounds.items() if pixels is not None}
    if given:
        flags += ["--mm-processor-kwargs", json.dumps(given)]
    return [sys.executable, "-P", "-m", MODULE, *flags, *settings.vllm_flags]


def environment(
    settings: RolloutServerSettings, inherited: Mapping[str, str], sockets: Path
) -> dict[str, str]:
    """The environment of vLLM's processes: `inherited`, our defaults where it has no value, and what we rely on.

    Args:
        settings: Of the server.
        inherited: The environment of the launcher.
        sockets: A folder for the sockets between these processes, which vLLM leaves behind.
    """
    defaults = {
        "VLLM_RPC_BASE_PATH": str(sockets),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    if Path(settings.model).is_dir():
        defaults["HF_HUB_OFFLINE"] = "1"
    if is_cpu_build():
        defaults |= {
            "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # otherwise vLLM overrides our choice of executor
            # vLLM would compile the sampler only, at the first request for log-probabilities. That takes 20 s and
            # a C++ compiler, without a measurable gain.
            "TORCHDYNAMO_DISABLE": "1",
            "OMP_NUM_THREADS": str(max(1, _cores() - 1)),
        }
    required = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        # `-P` for vLLM's child processes: they must not import from the current folder either. `-I` would also
        # ignore PYTHONPATH, which carries the repairs.
        "PYTHONSAFEPATH": "1",
        WARM_UP_VARIABLE: settings.warm_up,
    }
    return repaired({**defaults, **inherited, **required})


def _cores() -> int:
    """Cores that this process may use, or those of the machine if the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
