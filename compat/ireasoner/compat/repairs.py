"""Repairs packages that do not work with a CPU build of torch, at the moment they are imported.

This module imports only the standard library: each repair runs after the package itself has imported torch.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType

from . import torchvision_cpu, vllm_lora_cpu, vllm_token_names

STARTUP = Path(__file__).resolve().parent / "startup"
REPAIRS: Mapping[str, Callable[[ModuleType], None]] = {
    "torchvision.extension": torchvision_cpu.define_operators,
    "torchaudio._extension.utils": torchvision_cpu.tolerate_missing_library,
    "torchcodec._internally_replaced_utils": torchvision_cpu.raise_import_error,
    "vllm.lora.ops.torch_ops.lora_ops": vllm_lora_cpu.multiply_by_adapter,
    "vllm.lora.punica_wrapper.punica_cpu": vllm_lora_cpu.add_at_once,
    "vllm.v1.engine.logprobs": vllm_token_names.remember,
}
"""The repair of each module, called once the module has run."""


def install() -> None:
    """Makes this process repair the packages when it imports them.

    A package that is missing, intact or already imported is left alone, and so is every package if torch is not a CPU
    build.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """Returns `env` with a PYTHONPATH that makes every Python process started with it, and its children, `install`."""
    others = [part for part in env.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(STARTUP)]
    return {**env, "PYTHONPATH": os.pathsep.join([str(STARTUP), *others])}


def torch_is_cpu_build() -> bool:
    """Whether torch was built for neither CUDA nor ROCm."""
    import torch

    return torch.version.cuda is None and torch.version.hip is None


class _RepairingLoader(SourceFileLoader):
    """Runs the module, then repairs it."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if torch_is_cpu_build():
            REPAIRS[module.__name__](module)


class _Finder:
    """Finds the modules of `REPAIRS` like the ordinary finder, and replaces only their loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in REPAIRS:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        spec.loader = _RepairingLoader(fullname, spec.loader.path)
        return spec
