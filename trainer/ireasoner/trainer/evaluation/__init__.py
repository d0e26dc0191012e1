"""Accuracy on labelled questions."""

from typing import Literal

Side = Literal["before", "after"]
"""Whether an evaluation of a run is of the policy before training or after it."""
