"""Makes CUDA builds of torchvision, torchaudio and torchcodec bearable beside a CPU build of torch.

PyPI has no CPU build of them, and vLLM depends on all three. The compiled part of a CUDA wheel cannot be
loaded without the CUDA libraries. Then
- torchvision fails as it registers fakes for two operators that do not exist: it gets their schemas;
- torchaudio raises OSError, although it does without its library if it has no such file: it now does too;
- torchcodec raises OSError, where all who try to import it expect ImportError: it raises that.
Nothing that we use needs the compiled parts; what does need them still says that they could not be loaded.

Only the standard library is imported here: each repair runs when the package itself has imported torch.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
STARTUP = Path(__file__).resolve().parent / "startup"

_libraries: list[Any] = []  # a torch Library withdraws its operators when it is collected


def install() -> None:
    """Arrange for the packages to be repaired as this process imports them.

    Does nothing to a package that is absent, already imported or whole, or where torch is not a CPU build.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """`env` such that every Python process started with it, and all that they start, call `install`."""
    others = [part for part in env.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(STARTUP)]
    return {**env, "PYTHONPATH": os.pathsep.join([str(STARTUP), *others])}


def define_operators(_extension: ModuleType) -> None:
    """Define the schemas of torchvision's operators if it has not registered its own."""
    import torch
    from torch import library as untyped

    library: Any = untyped
    for name in OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            fragment = library.Library("torchvision", "FRAGMENT")
            fragment.define(name + SCHEMA)
            _libraries.append(fragment)


def do_without_library(utils: ModuleType) -> None:
    """Let torchaudio's loader answer "no such library" for one that cannot be loaded."""
    load = utils._load_lib

    def load_or_do_without(name: str) -> bool:
        try:
            return bool(load(name))
        except OSError:
            return False

    utils.__dict__["_load_lib"] = load_or_do_without


def raise_import_error(utils: ModuleType) -> None:
    """Let torchcodec's loader raise ImportError for a library that cannot be loaded."""
    load = utils.load_image_library

    def load_or_import_error() -> None:
        try:
            load()
        except OSError as error:
            raise ImportError(
                f"torchcodec is not built for this torch: {error}", name="torchcodec"
            ) from error

    utils.__dict__["load_image_library"] = load_or_import_error


REPAIRS = {  # the module that deals with each package's compiled part, and what is done once it has run
    "torchvision.extension": define_operators,
    "torchaudio._extension.utils": do_without_library,
    "torchcodec._internally_replaced_utils": raise_import_error,
}


def torch_is_cpu_build() -> bool:
    """Whether torch was built for neither CUDA nor ROCm."""
    import torch

    return torch.version.cuda is None and torch.version.hip is None


class _RepairingLoader(SourceFileLoader):
    """Runs the module as ever, then repairs it."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if torch_is_cpu_build():
            REPAIRS[module.__name__](module)


class _Finder:
    """Finds the modules of `REPAIRS` where the ordinary finder does, and changes only their loader."""

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
