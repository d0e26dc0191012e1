"""TRL's private names are used in one file, and are what that file expects."""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers
import trl
from transformers import Trainer
from trl import GRPOTrainer
from trl.models import utils as model_utils
from trl.trainer import utils as trainer_utils

import ireasoner.trainer.loop.trl_internals as internals
import replication.released_code_loop
from ireasoner.trainer.loop.policy_update import PolicyUpdate
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from replication.released_code_loop import ReleasedCodeTrainer

METHODS = {
    "_prepare_inputs": ("self", "generation_batch"),
    "_generate_and_score_completions": ("self", "inputs"),
    "_compute_loss": ("self", "model", "inputs"),
    "_get_per_token_logps_and_entropies": ("self", "model", "input_ids", "attention_mask", "logits_to_keep"),
    "_maybe_log_save_evaluate": ("self", "tr_loss"),
    "_save_checkpoint": ("self", "model", "trial"),
    "_load_from_checkpoint": ("self", "resume_from_checkpoint", "model"),
    "_move_model_to_device": ("self", "model", "device"),
}
"""The first parameters of each private method that is overridden or called."""

ATTRIBUTES = ("_metrics", "_logs", "_step", "current_gradient_accumulation_steps", "use_vllm", "beta")
"""Attributes that are read or set, and not documented."""

FUNCTIONS: dict[Callable[..., Any], tuple[str, ...]] = {
    trainer_utils.split_pixel_values_by_grid: ("batch",),
    trainer_utils.unsplit_pixel_values_by_grid: ("batch",),
    model_utils.disable_gradient_checkpointing: ("model", "gradient_checkpointing_kwargs"),
}

PACKAGES = [Path(internals.__file__).parents[1], Path(replication.released_code_loop.__file__).parent]


def changes(trainer: type) -> Iterator[str]:
    """What the loop expects of a trainer class of TRL and does not find, one message per name."""
    versions = f"TRL {trl.__version__} with transformers {transformers.__version__}"
    for name, expected in METHODS.items():
        method = getattr(trainer, name, None)
        if method is None:
            yield f"{versions} has no {trainer.__name__}.{name}, which trl_internals.py overrides or calls"
            continue
        found = tuple(inspect.signature(method).parameters)
        if found[: len(expected)] != expected:
            yield f"{versions} changed {trainer.__name__}.{name}: it takes {found}, trl_internals.py expects {expected}"
    assigned = _assigned(trainer)
    for name in ATTRIBUTES:
        if name not in assigned:
            yield f"{versions} no longer sets {trainer.__name__}.{name}, which trl_internals.py uses"


def _assigned(trainer: type) -> set[str]:
    """The attributes of self that a class and its bases assign."""
    names = set()
    for base in trainer.__mro__[:-1]:
        if base.__module__.startswith(("trl.", "transformers.")):
            for node in ast.walk(ast.parse(inspect.getsource(base))):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    names.add(node.attr)
    return names


def test_the_installed_trl_has_what_the_loop_expects() -> None:
    assert list(changes(GRPOTrainer)) == []
    for function, expected in FUNCTIONS.items():
        found = tuple(inspect.signature(function).parameters)
        assert found == expected, f"TRL {trl.__version__} changed {function.__name__}: it takes {found}"


def test_a_change_is_reported_by_name_and_version() -> None:
    class Changed(Trainer):  # type: ignore[misc]
        def _prepare_inputs(self, batches: Any, generation_batch: Any) -> None:
            pass

        def _compute_loss(self, model: Any, inputs: Any) -> None:
            pass

    messages = list(changes(Changed))
    assert all(message.startswith(f"TRL {trl.__version__} ") for message in messages)
    assert any("changed Changed._prepare_inputs: it takes ('self', 'batches'" in one for one in messages)
    assert any("has no Changed._generate_and_score_completions" in one for one in messages)
    assert any("no longer sets Changed._logs" in one for one in messages)
    assert not any("_compute_loss" in one for one in messages)


def test_every_private_method_that_is_overridden_is_listed() -> None:
    overridden = {
        name
        for name in vars(internals.GrpoInternals)
        if name.startswith("_") and not name.startswith("__") and hasattr(GRPOTrainer, name)
    }
    assert overridden <= METHODS.keys()


@pytest.mark.parametrize("kind", [PolicyUpdate, ProposerSolverTrainer, ReleasedCodeTrainer])
def test_no_other_file_uses_a_private_name_of_trl(kind: type) -> None:
    private = {name for name in (*dir(GRPOTrainer), *_assigned(GRPOTrainer)) if name.startswith("_")}
    private = {name for name in private if not name.startswith("__")}
    tree = ast.parse(inspect.getsource(inspect.getmodule(kind)))  # type: ignore[arg-type]
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    defined = {name for name in vars(kind) if name.startswith("_")}
    assert (used | defined) & private == set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_other_file_imports_a_module_inside_trl(package: Path) -> None:
    allowed = Path(internals.__file__)
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trl."):
                assert file == allowed, f"{file} imports {node.module}"
