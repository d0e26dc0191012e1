"""OpenVINO on the processor, in one of two precisions, and without its usage reports."""

import sys
from typing import Literal

# OpenVINO sends usage reports if it can import this package; this line makes the import fail.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402 - after the line above

__all__ = ["Precision", "PrecisionNotComputed", "claims_bf16", "compiled_in", "openvino"]

Precision = Literal["bf16", "f32"]
"""As OpenVINO names them."""


class PrecisionNotComputed(Exception):
    """The processor would not compute in the requested precision."""


def claims_bf16(core: "openvino.Core") -> bool:
    """Whether the processor has instructions for bfloat16."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compiled_in(
    precision: Precision, core: "openvino.Core", model: "openvino.Model", threads: int | None
) -> "openvino.CompiledModel":
    """A model that computes in `precision`.

    Raises PrecisionNotComputed if OpenVINO chose another precision, which it does silently.
    """
    hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    bounds = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(model, "CPU", hints | bounds)
    taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if taken != precision:
        raise PrecisionNotComputed(f"this processor computes in {taken}, not in {precision}")
    return compiled
