"""An export holds what was trained, in a form that other software loads."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from ireasoner.trainer.adapters.backbone import load_backbone, load_processor, lora_config, name_roles
from ireasoner.trainer.adapters.publisher import write_adapter
from ireasoner.trainer.commands.export import export
from ireasoner.trainer.commands.model_card import base_model
from ireasoner.trainer.commands.settings import ExportSettings
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.evaluation.intervals import Interval
from ireasoner.trainer.run_folder.run_folder import CollapseMark
from ireasoner.trainer.settings import ROLES, LoraSettings
from tests.conftest import MODEL
from tests.trainer.synthetic_run import SyntheticRun


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Any]:
    """A run folder with random adapters of the tiny model, and the policy itself."""
    from peft import get_peft_model

    run = SyntheticRun(tmp_path / "run")
    run.settings = run.settings.model_copy(update={"model": str(MODEL)})
    (tmp_path / "run" / "settings.json").write_text(run.settings.model_dump_json())
    run.write_updates(6)
    run.write_evaluation(0.5, 0.7)
    backbone = load_backbone(str(MODEL), "float32").eval()
    shape = lora_config(backbone, LoraSettings(r=4, dropout=0.0))
    policy = get_peft_model(backbone, shape)
    name_roles(policy, shape)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in policy.named_parameters():
        if "lora_" in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    (tmp_path / "run" / "final").mkdir()
    for role in ROLES:
        write_adapter(policy, role, tmp_path / "run" / "final" / role)
    return tmp_path / "run", policy


def logits(model: Any) -> torch.Tensor:
    ids = torch.arange(20, 60)[None]
    with torch.no_grad():
        out: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return out


@pytest.mark.parametrize("role", ["solver", "proposer"])
def test_merged_weights_give_the_logits_of_the_adapter(
    trained: tuple[Path, Any], tmp_path: Path, role: Any
) -> None:
    run, policy = trained
    settings = ExportSettings(run_folder=run, output=tmp_path / "out", role=role, merged=True)
    merged = AutoModelForImageTextToText.from_pretrained(export(settings)).eval()
    policy.set_adapter(role)
    expected = logits(policy)
    assert torch.allclose(logits(merged), expected, atol=1e-4)
    with policy.disable_adapter():
        assert not torch.allclose(logits(policy), expected, atol=1e-2), (
            "the adapter must matter for this test"
        )


def test_a_merged_export_scales_images_as_the_run_did(trained: tuple[Path, Any], tmp_path: Path) -> None:
    run, _ = trained
    written = json.loads((run / "settings.json").read_text())
    written["rollout"] |= {"min_pixels": 784, "max_pixels": 15680}
    (run / "settings.json").write_text(json.dumps(written))
    output = export(ExportSettings(run_folder=run, output=tmp_path / "out", merged=True))
    size = load_processor(str(output)).image_processor.size
    assert (size.shortest_edge, size.longest_edge) == (784, 15680)


def test_an_adapter_comes_with_a_card_that_describes_the_run(
    trained: tuple[Path, Any], tmp_path: Path
) -> None:
    run, _ = trained
    output = export(ExportSettings(run_folder=run, output=tmp_path / "out"))
    assert (output / "adapter_model.safetensors").read_bytes() == (
        run / "final" / "solver" / "adapter_model.safetensors"
    ).read_bytes()
    card = (output / "README.md").read_text()
    for part in (
        f"base_model: {MODEL.name}\n",
        "6 of 24 updates",
        "fingerprint",
        "| greedy | 0.5",
        '"learning_rate"',
    ):
        assert part in card


def test_the_card_formats_figures_as_evaluate_does(trained: tuple[Path, Any], tmp_path: Path) -> None:
    run, _ = trained
    card = (export(ExportSettings(run_folder=run, output=tmp_path / "out")) / "README.md").read_text()
    evaluation = json.loads((run / "evaluation.json").read_text())
    for label, name in (("greedy", "greedy"), ("maj@8", "majority"), ("pass@8", "passed")):
        before, after = (Interval(**evaluation[when][name]) for when in ("before", "after"))
        assert f"| {label} | {before} | {after} |" in card


@pytest.mark.parametrize("merged", [False, True])
def test_the_weights_have_the_permissions_of_any_new_file(
    trained: tuple[Path, Any], tmp_path: Path, merged: bool
) -> None:
    run, _ = trained
    output = export(ExportSettings(run_folder=run, output=tmp_path / "out", merged=merged))
    (tmp_path / "new").touch()
    modes = {file.name: file.stat().st_mode for file in output.iterdir()}
    assert set(modes.values()) == {(tmp_path / "new").stat().st_mode}, modes


def test_the_card_names_defects_and_a_missing_evaluation(trained: tuple[Path, Any], tmp_path: Path) -> None:
    run, _ = trained
    document = json.loads((run / "settings.json").read_text())
    document["reference_defects"] = {"kl_to_itself": True, "frozen_proposer": False}
    (run / "settings.json").write_text(json.dumps(document))
    evaluation = json.loads((run / "evaluation.json").read_text())
    (run / "evaluation.json").write_text(json.dumps({**evaluation, "before": None}))
    card = (export(ExportSettings(run_folder=run, output=tmp_path / "out")) / "README.md").read_text()
    assert "**Known to be wrong, on purpose**: trained with kl_to_itself." in card
    assert "not evaluated both before and after" in card


def test_the_card_compares_no_figures_of_different_questions(
    trained: tuple[Path, Any], tmp_path: Path
) -> None:
    run, _ = trained
    evaluation = json.loads((run / "evaluation.json").read_text())
    evaluation["before"]["asked"] = "other"
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    card = (export(ExportSettings(run_folder=run, output=tmp_path / "out")) / "README.md").read_text()
    assert "evaluated on other questions after training" in card
    assert "| greedy |" not in card


def test_a_run_of_another_version_can_be_exported(trained: tuple[Path, Any], tmp_path: Path) -> None:
    run, _ = trained
    document = json.loads((run / "settings.json").read_text())
    document["collapse"]["a_former_setting"] = 0.125
    (run / "settings.json").write_text(json.dumps(document))
    output = export(ExportSettings(run_folder=run, output=tmp_path / "out"))
    assert '"a_former_setting": 0.125' in (output / "README.md").read_text()


def test_nothing_is_overwritten_and_an_unfinished_run_is_refused(
    trained: tuple[Path, Any], tmp_path: Path
) -> None:
    run, _ = trained
    (tmp_path / "taken").mkdir()
    with pytest.raises(SettingsError, match="exists already"):
        export(ExportSettings(run_folder=run, output=tmp_path / "taken"))
    with pytest.raises(SettingsError, match="contains no run"):
        export(ExportSettings(run_folder=tmp_path, output=tmp_path / "out"))
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="file is not a folder"):
        export(ExportSettings(run_folder=run, output=tmp_path / "file" / "out"))
    shutil.rmtree(run / "final")
    with pytest.raises(SettingsError, match="has the run ended"):
        export(ExportSettings(run_folder=run, output=tmp_path / "out"))


def test_an_unfinished_run_is_exported_from_any_checkpoint(trained: tuple[Path, Any], tmp_path: Path) -> None:
    run, policy = trained
    adapters = {role: run / "final" / role for role in ROLES}
    for name in ("checkpoint-2", "checkpoint-12", "before-collapse"):
        for role, adapter in adapters.items():
            shutil.copytree(adapter, run / "checkpoints" / name / role)
    shutil.rmtree(run / "final")
    mark = CollapseMark(update=5, signs={"entropy": "low"}, checkpoint="checkpoint-4")
    (run / "collapse.json").write_text(mark.model_dump_json())
    for checkpoint, updates in (("2", 2), ("12", 6), ("before-collapse", 4)):
        output = export(
            ExportSettings(
                run_folder=run, output=tmp_path / checkpoint, checkpoint=checkpoint, role="proposer"
            )
        )
        assert (output / "adapter_model.safetensors").exists()
        card = (output / "README.md").read_text()
        assert f"for {updates} of 24 updates" in card
        assert "This checkpoint was not evaluated." in card
    merged = ExportSettings(run_folder=run, output=tmp_path / "merged", checkpoint="2", merged=True)
    policy.set_adapter("solver")
    assert torch.allclose(
        logits(AutoModelForImageTextToText.from_pretrained(export(merged)).eval()), logits(policy), atol=1e-4
    )
    for checkpoint in ("3", "x"):
        with pytest.raises(SettingsError, match=r"has no checkpoint .*; it has 2, 12, before-collapse"):
            export(ExportSettings(run_folder=run, output=tmp_path / "no", checkpoint=checkpoint))
    with pytest.raises(SettingsError, match="with --checkpoint; it has 2, 12, before-collapse"):
        export(ExportSettings(run_folder=run, output=tmp_path / "no"))


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"),
        ("/home/me/models/qwen", "qwen"),
        ("~/models/qwen", "qwen"),
        ("../models/qwen/", "qwen"),
        ("./qwen", "qwen"),
    ],
)
def test_a_base_model_is_a_hub_id_or_the_name_of_a_folder(model: str, name: str) -> None:
    assert base_model(model) == name


@pytest.mark.parametrize("merged", [False, True])
def test_an_export_names_no_path_of_this_machine(
    trained: tuple[Path, Any], tmp_path: Path, merged: bool
) -> None:
    run, _ = trained
    document = json.loads((run / "settings.json").read_text())
    document |= {"config": "/home/me/run.toml", "adapters_folder": "/shared/x", "labels": "data/mine/q.jsonl"}
    document["images"] = "data/photos"
    document["grpo"] |= {"deepspeed": "/home/me/zero2.json", "nested": [{"path": "~/secret"}]}
    document["reward"] |= {
        "token_file": "/run/secrets/token",
        "url": "http://inside:8010",
        "function": "mine:f",
    }
    (run / "settings.json").write_text(json.dumps(document))
    output = export(ExportSettings(run_folder=run, output=tmp_path / "out", merged=merged))
    written = "".join(file.read_text() for file in output.iterdir() if file.suffix in (".md", ".json"))
    for path in (
        str(tmp_path),
        str(MODEL.parent),
        "/home",
        "/shared",
        "/run/",
        "~/",
        "data/",
        "http://inside",
    ):
        assert path not in written, path
    card = (output / "README.md").read_text()
    for name in ("zero2.json", "q.jsonl", "`photos`", "the function `mine:f`, in place of the scores"):
        assert name in card
