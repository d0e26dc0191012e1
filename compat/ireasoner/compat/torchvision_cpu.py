"""Makes CUDA builds of torchvision, torchaudio and torchcodec importable with a CPU build of torch.

vLLM depends on all three, and PyPI has no CPU build of them. The compiled part of a CUDA wheel cannot be loaded without
the CUDA libraries. As a result
- torchvision fails to register fakes for two operators that do not exist: we define their schemas;
- torchaudio raises OSError, though it can work without its library: we make it treat the library as missing;
- torchcodec raises OSError, though its importers expect ImportError: we make it raise that.
We use nothing that needs the compiled parts. Functions that need them still report that they could not be loaded.
"""

from types import ModuleType
from typing import Any

OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_libraries: list[Any] = []  # kept alive: a torch Library removes its operators when it is collected


def define_operators(_extension: ModuleType) -> None:
    """Defines the schemas of torchvision's operators, unless torchvision registered its own."""
    import torch
    from torch import library as untyped

    library: Any = untyped
    for name in OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            fragment = library.Library("torchvision", "FRAGMENT")
            fragment.define(name + SCHEMA)
            _libraries.append(fragment)


def tolerate_missing_library(utils: ModuleType) -> None:
    """Makes torchaudio's loader return "no such library" for one that cannot be loaded."""
    load = utils._load_lib

    def load_or_false(name: str) -> bool:
        try:
            return bool(load(name))
        except OSError:
            return False

    utils.__dict__["_load_lib"] = load_or_false


def raise_import_error(utils: ModuleType) -> None:
    """Makes torchcodec's loader raise ImportError for a library that cannot be loaded."""
    load = utils.load_image_library

    def load_or_import_error() -> None:
        try:
            load()
        except OSError as error:
            raise ImportError(
                f"torchcodec is not built for this torch: {error}", name="torchcodec"
            ) from error

    utils.__dict__["load_image_library"] = load_or_import_error
