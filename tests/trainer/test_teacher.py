"""The slow teacher: a moving average of the Solver's adapter, published, saved and resumed like the others."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from safetensors.torch import load_file

from ireasoner.trainer.adapters.backbone import (
    active_adapter,
    load_backbone,
    lora_config,
    name_roles,
    role_parameters,
)
from ireasoner.trainer.adapters.publisher import write_adapter
from ireasoner.trainer.adapters.teacher import SlowTeacher, decay
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.rewards.needs import Needs
from ireasoner.trainer.run_folder.run_folder import read_lines
from ireasoner.trainer.settings import LoraSettings, TeacherSettings
from tests.conftest import MODEL
from tests.trainer.offline import (
    OfflineRollouts,
    Strike,
    answers,
    disturb,
    offline_settings,
    offline_trainer,
)

SPREAD = (1, 2, 4, 9)
SETTINGS: dict[str, Any] = {
    "updates": 4,
    "save_every": 1,
    "keep_checkpoints": 9,
    "proposer_every": 2,
    "groups_per_update": 1,
    "reward": {"voters": "teacher"},
    "teacher": {"decay_start": 0.9, "decay_end": 0.5},
}


@pytest.mark.parametrize(
    ("progress", "expected"), [(0.0, 0.99), (0.5, (0.99 + 0.9999) / 2), (1.0, 0.9999), (0.25, 0.99145)]
)
def test_w_follows_half_a_cosine(progress: float, expected: float) -> None:
    assert decay(TeacherSettings(), progress) == pytest.approx(expected, abs=1e-5)


@pytest.fixture
def policy() -> Any:
    """The tiny model with both roles' adapters; the Solver's is off the base model."""
    backbone = load_backbone(str(MODEL), "float32").eval()
    shape = lora_config(backbone, LoraSettings(r=4, alpha=8, dropout=0.0))
    policy = get_peft_model(backbone, shape)
    name_roles(policy, shape)
    disturb(policy)
    return policy


def values(policy: Any, adapter: Any) -> dict[str, torch.Tensor]:
    """The weights of an adapter, by names without that of the adapter."""
    return {
        name.replace(f".{adapter}.", "."): parameter.detach().clone()
        for name, parameter in role_parameters(policy, adapter).items()
    }


def test_the_teacher_starts_as_the_solver_and_follows_slowly(policy: Any, tmp_path: Path) -> None:
    teacher = SlowTeacher(policy, policy.peft_config["solver"], TeacherSettings(decay_start=0.9))
    start = values(policy, "solver")
    assert all(torch.equal(value, start[name]) for name, value in values(policy, "teacher").items())
    for parameter in role_parameters(policy, "solver").values():
        parameter.data += 1.0
    assert teacher.move(0.0) == pytest.approx(0.9)
    moved = values(policy, "teacher")
    assert all(torch.allclose(value, start[name] + 0.1, atol=1e-6) for name, value in moved.items())
    assert not any(parameter.requires_grad for parameter in teacher.parameters)
    assert policy.active_adapter == "solver"

    write_adapter(policy, "teacher", tmp_path / "teacher")
    teacher.move(0.5)
    assert not torch.equal(values(policy, "teacher")[name := next(iter(moved))], moved[name])
    teacher.read(tmp_path)
    assert all(torch.equal(value, moved[name]) for name, value in values(policy, "teacher").items())
    with active_adapter(policy, "teacher"):  # as the canary does
        pass
    assert not any(parameter.requires_grad for parameter in teacher.parameters)


def trained(folder: Path, *callbacks: Any, **fields: Any) -> tuple[ProposerSolverTrainer, OfflineRollouts]:
    settings = offline_settings(folder, **{**SETTINGS, **fields})
    rollouts = OfflineRollouts(answers(SPREAD))
    trainer = offline_trainer(settings, rollouts, callbacks, needs=Needs(voters=True))
    trainer.go()
    return trainer, rollouts


def weights(folder: Path, update: int, name: str) -> dict[str, torch.Tensor]:
    path = folder / "run" / "checkpoints" / f"checkpoint-{update}" / name / "adapter_model.safetensors"
    loaded: dict[str, torch.Tensor] = load_file(path)
    return loaded


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, OfflineRollouts]:
    folder = tmp_path_factory.mktemp("whole")
    _, rollouts = trained(folder)
    return folder, rollouts


def test_the_teacher_is_the_average_of_the_solvers_so_far(whole: tuple[Path, OfflineRollouts]) -> None:
    """Update 2 trains the Proposer, and moves neither. The updates' progress is 0, 1/3, 2/3 and 1."""
    folder, _ = whole
    teacher = {name: value for name, value in weights(folder, 1, "teacher").items() if "lora_B" in name}
    first = weights(folder, 1, "solver")
    for name, value in teacher.items():  # B starts at 0
        assert torch.allclose(value, 0.1 * first[name], atol=1e-7)
        assert value.abs().max() > 0
    for update in (2, 4):
        w = decay(TeacherSettings(**SETTINGS["teacher"]), (update - 1) / 3)
        before, solver = weights(folder, update - 1, "teacher"), weights(folder, update, "solver")
        for name, value in weights(folder, update, "teacher").items():
            assert torch.allclose(value, w * before[name] + (1 - w) * solver[name], atol=1e-7)
    for name, value in weights(folder, 3, "teacher").items():
        assert torch.equal(value, weights(folder, 2, "teacher")[name])


def test_each_version_judges_the_solver_of_the_same_version(whole: tuple[Path, OfflineRollouts]) -> None:
    folder, rollouts = whole
    judged = [group for group in read_lines(folder / "run" / "groups.jsonl") if group["role"] == "solver"]
    versions = [
        (group["rollouts"][0]["policy"][-13:], group["voters"]["rollouts"][0]["policy"][-14:])
        for group in judged
    ]
    assert versions == [(f"solver-{version:06d}", f"teacher-{version:06d}") for version in (0, 1, 2)]
    assert len([name for name in rollouts.models() if "teacher" in name]) == 1, "older versions are unloaded"
    lines = list(read_lines(folder / "run" / "metrics.jsonl"))
    w = [line["solver/teacher_decay"] for line in lines if line["role"] == "solver"]
    assert w == pytest.approx([0.9, 0.8, 0.5])


class Broken(Exception):
    """What ends a run in these tests."""


def strike() -> None:
    raise Broken


def test_a_run_that_ended_in_an_update_resumes_with_the_same_teacher(
    whole: tuple[Path, OfflineRollouts], tmp_path: Path
) -> None:
    with pytest.raises(Broken):
        trained(tmp_path, Strike(1, strike), save_every=9)
    trained(tmp_path, save_every=9, resume=True)
    for name in ("teacher", "solver"):
        resumed, uninterrupted = weights(tmp_path, 4, name), weights(whole[0], 4, name)
        assert all(torch.equal(value, uninterrupted[key]) for key, value in resumed.items())


def test_an_error_after_the_teacher_moved_saves_the_update_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log line that cannot be written, say: teacher and Solver go back together."""
    original = ProposerSolverTrainer.log

    def log(self: ProposerSolverTrainer, logs: dict[str, float], *rest: Any) -> None:
        if self.state.global_step == 2:
            raise Broken
        original(self, logs, *rest)

    monkeypatch.setattr(ProposerSolverTrainer, "log", log)
    with pytest.raises(Broken):
        trained(tmp_path, save_every=9, updates=4)
    monkeypatch.undo()
    trained(tmp_path, save_every=9, resume=True)
    saved = weights(tmp_path, 1, "teacher")
    solver = weights(tmp_path, 1, "solver")
    assert all(
        torch.allclose(value, 0.1 * solver[name], atol=1e-7)
        for name, value in saved.items()
        if "lora_B" in name
    )


def test_no_gradient_moves_the_teacher(tmp_path: Path) -> None:
    trainer, _ = trained(tmp_path, updates=1, teacher={"decay_start": 1.0, "decay_end": 1.0})
    assert not any(each.requires_grad for each in trainer.teacher.parameters)  # type: ignore[union-attr]
    moved = role_parameters(trainer.model, "solver")
    still = role_parameters(trainer.model, "teacher")
    assert all(value.abs().max() == 0 for name, value in still.items() if "lora_B" in name)
    assert any(value.abs().max() > 0 for name, value in moved.items() if "lora_B" in name)
    optimized = {id(each) for group in trainer.optimizer.param_groups for each in group["params"]}
    assert not optimized & {id(each) for each in still.values()}
