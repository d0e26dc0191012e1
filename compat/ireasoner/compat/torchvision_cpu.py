"""Makes CUDA builds of torchvision, torchaudio and torchcodec bearable beside a CPU build of torch.

PyPI has no CPU build of them, and vLLM depends on all three. The compiled part of a CUDA wheel cannot be
loaded without the CUDA libraries. Then
- torchvision fails as it registers fakes for two operators that do not exist: it gets their schemas;
- torchaudio raises OSError, although it does without its library if it has no such file: it now does too;
- torchcodec raises OSError, where all who try to import it expect ImportError: it raises that.
Nothing that we use needs the compiled parts; what does need them still says that they could not be loaded.
"""

from types import ModuleType
from typing import Any

OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

_libraries: list[Any] = []  # a torch Library withdraws its operators when it is collected


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
