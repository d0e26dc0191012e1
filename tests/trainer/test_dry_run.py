"""A dry run counts the parameters of the real policy without reading its weights."""

import io
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from peft import get_peft_model
from PIL import Image
from rich.console import Console
from transformers import Qwen2_5_VLConfig

from ireasoner.cli.__main__ import main
from ireasoner.trainer.adapters.backbone import load_backbone, lora_config, name_roles
from ireasoner.trainer.commands import memory_plan as memory
from ireasoner.trainer.commands.dry_run import show_plan
from ireasoner.trainer.commands.memory_plan import memory_plan
from ireasoner.trainer.commands.service import free_ports
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.run_folder.run_folder import RunFolder
from ireasoner.trainer.settings import LoraSettings, RunSettings, read_toml
from tests.conftest import MODEL

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [path for path in sorted((ROOT / "configs").glob("*.toml")) if path.stem != "reference-faithful"]
"""All but the ablation, which `replication` plans."""


def test_the_counts_are_those_of_the_trained_policy(tmp_path: Path) -> None:
    shutil.copy(MODEL / "config.json", tmp_path)
    settings = RunSettings(model=str(tmp_path), images=tmp_path, run_folder=tmp_path / "run", lora={"r": 8})

    needed = memory_plan(settings)

    backbone = load_backbone(str(MODEL), "float32")
    assert needed.backbone_parameters == sum(p.numel() for p in backbone.parameters())
    shape = lora_config(backbone, LoraSettings(r=8))
    policy = get_peft_model(backbone, shape)
    name_roles(policy, shape)
    policy.set_adapter("proposer")
    assert needed.adapter_parameters == sum(p.numel() for p in policy.parameters() if p.requires_grad)


def test_the_papers_recipe_is_planned_without_its_weights(tmp_path: Path) -> None:
    """Qwen2.5-VL-7B by its published shape: 8.29 billion parameters, 40.4 million in an adapter of rank 16."""
    Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
        },
        vision_config={"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584},
        tie_word_embeddings=False,
    ).save_pretrained(tmp_path)
    (tmp_path / "images").mkdir()
    Image.new("RGB", (30, 30)).save(tmp_path / "images" / "one.png")
    fields = {**read_toml(ROOT / "configs" / "qwen2_5_vl_7b.toml"), "model": str(tmp_path)}
    settings = RunSettings(**fields, images=tmp_path / "images", run_folder=tmp_path / "run", dry_run=True)
    shown = io.StringIO()

    show_plan(settings, Console(file=shown, width=160))

    needed = memory_plan(settings, on_gpu=True)
    assert 8.2e9 < needed.backbone_parameters < 8.4e9
    assert needed.adapter_parameters == 40_370_176
    assert 15 < needed.total_gib < 40
    one, many = (needed.per_gpu_gib(gpus) for gpus in (1, 8))
    assert needed.weights_gib < many < one == needed.total_gib
    assert f"{many:.3g}" in shown.getvalue()
    [loading] = [line for line in shown.getvalue().splitlines() if "RAM while loading" in line]
    for gpus in (1, 8):
        assert f" {gpus * needed.weights_gib:.3g} " in loading
    assert "2,500 of the Solver, 500 of the Proposer" in shown.getvalue()
    assert not (tmp_path / "run").exists()


def test_an_extension_is_planned_as_it_is_run(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (30, 30)).save(tmp_path / "images" / "one.png")
    run = RunSettings(
        model=str(MODEL), images=tmp_path / "images", run_folder=tmp_path / "run", updates=4, proposer_every=1
    )
    RunFolder(run)
    written = (run.run_folder / "settings.json").read_text()
    shown = io.StringIO()
    show_plan(run.model_copy(update={"resume": True, "updates": 10}), Console(file=shown, width=160))
    assert "5 of the Solver, 5 of the Proposer" in shown.getvalue()
    assert '"progress_updates": 4' in shown.getvalue()
    assert (run.run_folder / "settings.json").read_text() == written


def test_a_wrong_setting_is_found_before_images_are_read(tmp_path: Path) -> None:
    settings = RunSettings(
        model=str(MODEL), images=tmp_path, run_folder=tmp_path / "run", grpo={"loss_type": "no"}
    )
    with pytest.raises(SettingsError, match=r"grpo\.loss_type"):
        show_plan(settings, Console(quiet=True))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_can_be_planned(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(MODEL / "config.json", tmp_path)
    (tmp_path / "images").mkdir()
    for index in range(16):
        Image.new("RGB", (30, 30)).save(tmp_path / "images" / f"{index}.png")
    given = [
        "--model",
        str(tmp_path),
        "--images",
        str(tmp_path / "images"),
        "--run-folder",
        str(tmp_path / "run"),
    ]
    main(["train", "--config", str(config), *given, "--dry-run"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "total memory, estimated" in shown
    assert "GiB on each, estimated" in shown
    assert "refused" not in shown


def test_a_model_whose_layers_have_no_names_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "layers", lambda _: [])
    needed = memory_plan(RunSettings(model=str(MODEL), images=tmp_path, run_folder=tmp_path / "run"))
    assert needed.fetched_gib == needed.weights_gib, "it is fetched as a whole"


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    settings = RunSettings(model=str(tmp_path / "nowhere"), images=tmp_path, run_folder=tmp_path / "run")
    with pytest.raises(SettingsError, match=r"model: .*nowhere cannot be read: there is no such folder$"):
        memory_plan(settings)


def test_a_folder_without_a_model_is_named_without_a_hint(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    settings = RunSettings(model=str(tmp_path), images=tmp_path, run_folder=tmp_path / "run")
    with pytest.raises(SettingsError, match="cannot be read: ") as raised:
        memory_plan(settings)
    assert "--model FOLDER" not in str(raised.value)


def test_an_unreachable_hub_is_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_ports(1)[0]
    nobody = f"http://127.0.0.1:{port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", nobody)
    pauses_s: list[float] = []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=pauses_s.append))
    settings = RunSettings(model="nobody/nothing", images=tmp_path, run_folder=tmp_path / "run")
    with pytest.raises(
        SettingsError, match=r"cannot be read: .*; or give --model FOLDER with a config.json$"
    ):
        memory_plan(settings)
    assert pauses_s, "the hub tries again"
    assert not caplog.records
