"""Lets a CUDA build of torchvision be imported beside a CPU build of torch.

PyPI has no CPU build of torchvision. Its CUDA wheel cannot load its compiled operators without the CUDA
libraries, and then fails while registering fakes for two operators that do not exist. Nothing that we use
needs these operators; only their schemas must be there. Calling them still raises torchvision's own error,
which says that its C++ operators could not be loaded.

Only the standard library is imported here; torch is touched once torchvision has imported it.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

EXTENSION = "torchvision.extension"  # the module that loads the compiled operators, before any fake
OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
STARTUP = Path(__file__).resolve().parent / "startup"

_libraries: list[Any] = []  # a torch Library withdraws its operators when it is collected


def install() -> None:
    """Arrange for the missing operators to be defined when this process imports torchvision.

    Does nothing where torchvision is absent, already imported or whole, or where torch is not a CPU build.
    """
    if EXTENSION not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """`env` such that every Python process started with it, and all that they start, call `install`."""
    others = [part for part in env.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(STARTUP)]
    return {**env, "PYTHONPATH": os.pathsep.join([str(STARTUP), *others])}


def define_missing_operators() -> None:
    """Define the operators' schemas if torch is a CPU build and torchvision has not registered its own."""
    import torch

    library: Any = torch.library

    if torch.version.cuda is not None or torch.version.hip is not None:
        return
    for name in OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            fragment = library.Library("torchvision", "FRAGMENT")
            fragment.define(name + SCHEMA)
            _libraries.append(fragment)


class _ExtensionLoader(SourceFileLoader):
    """Runs the module as ever, then defines what it could not load."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        define_missing_operators()


class _Finder:
    """Finds `torchvision.extension` where the ordinary finder does, and changes only its loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != EXTENSION:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        spec.loader = _ExtensionLoader(fullname, spec.loader.path)
        return spec
