"""How vLLM is started: its command line and its environment."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ireasoner.compat.repairs import environment as repaired
from ireasoner.rollout_server.settings import WARM_UP_VARIABLE, RolloutServerSettings
from ireasoner.rollout_server.warm_up import WarmUp

# The CPU build is not distributed as `vllm`, and its `vllm` command fails for that reason: start the module.
MODULE = "vllm.entrypoints.openai.api_server"

# The only values that vLLM takes for --max-lora-rank; its LoRA kernels cost in proportion.
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def command(settings: RolloutServerSettings) -> list[str]:
    """The command line of vLLM's server: our defaults first, so that the flags passed through win."""
    flags = [
        *("--model", settings.model),
        *("--host", settings.host),
        *("--port", str(settings.port)),
        "--enable-lora",
        *("--max-lora-rank", str(min(rank for rank in RANKS if rank >= settings.max_lora_rank))),
        *("--max-loras", str(settings.max_loras)),
        # Not the sampling defaults of the checkpoint: what is sampled is what the request says.
        *("--generation-config", "vllm"),
        # Log-probabilities of the distribution that was sampled from, after temperature and masks.
        *("--logprobs-mode", "processed_logprobs"),
        *("--middleware", f"{WarmUp.__module__}.{WarmUp.__name__}"),
        "--disable-uvicorn-access-log",
        *("--uvicorn-log-level", "warning"),
    ]
    if settings.on_cpu:
        # The worker inside the engine's process: half the start and twice the tokens a second on two cores.
        flags += ["--dtype", "float32", "--enforce-eager", "--distributed-executor-backend", "uni"]
        # A prompt that is read in pieces moves the generator of a request with a seed back, which torch's
        # generator on the CPU cannot do: the engine dies ("CPU Generator does not use offset").
        flags += ["--no-enable-chunked-prefill"]
    return [sys.executable, "-m", MODULE, *flags, *settings.vllm_flags]


def environment(settings: RolloutServerSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of vLLM's processes; what `inherited` sets already is kept, but for what we rely on."""
    defaults = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    if Path(settings.model).is_dir():
        defaults["HF_HUB_OFFLINE"] = "1"
    if settings.on_cpu:
        threads = settings.cpu_threads or max(1, _cores() - 1)
        defaults |= {
            "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # else vLLM puts back the executor of many processes
            # The sampler alone would be compiled, at the first request for log-probabilities: 20 s and a C++
            # compiler, for nothing measurable.
            "TORCHDYNAMO_DISABLE": "1",
            "OMP_NUM_THREADS": str(threads),
        }
    required = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", WARM_UP_VARIABLE: settings.warm_up}
    if settings.cpu_threads is not None:
        required["OMP_NUM_THREADS"] = str(settings.cpu_threads)
    return repaired({**defaults, **inherited, **required})


def _cores() -> int:
    """Cores that this process may run on, where the system tells; else those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
