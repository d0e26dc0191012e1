"""The check for the first GPU, in its small form: every part on a CPU."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from ireasoner.reward_server.embedding.load import ModelNotPackaged
from ireasoner.trainer.adapters.backbone import forbidden_for, load_config
from scripts.gpu_check import ROOT, __main__, embedding, training
from scripts.gpu_check.models import write_shape
from scripts.gpu_check.page import page
from scripts.shapes import SHAPE_3B, SHAPE_SMALL

PARTS = ["embedder", "update at 3B", "tiny update, two devices", "loop"]


def in_this_process(module: str, job: dict[str, Any]) -> dict[str, Any]:
    """What a part gives, as it comes out of its process."""
    part: Any = {
        "embedding": lambda: embedding.measure(embedding.Job.model_validate(job)),
        "training": lambda: training.train(training.Job.model_validate(job)),
    }[module]
    result: dict[str, Any] = json.loads(json.dumps(part()))
    return result


@pytest.fixture(autouse=True, scope="module")
def environment() -> Iterator[None]:
    """Restores the environment of this process, which the check sets."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the small form."""
    out = tmp_path_factory.mktemp("gpu_check")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(__main__, "_run", in_this_process)
        assert __main__.main(["--small", "--out", str(out)]) == 0
    return out


def test_every_part_passes_on_a_cpu(written: Path) -> None:
    document = json.loads((written / "gpu_check.json").read_text())
    parts = document["parts"]
    assert list(parts) == PARTS
    assert all(part["passed"] for part in parts.values()), parts
    assert set(parts["embedder"]["steps_per_s"]) == {"cpu float32", "cpu bfloat16"}
    for name in ("update at 3B", "loop"):
        assert [each["role"] for each in parts[name]["updates"]] == ["solver", "proposer"]
        assert all(each["seconds"] > 0 for each in parts[name]["updates"])
        assert parts[name]["estimate_gib"] > 0
    assert parts["loop"]["tokens_per_s"] > 0
    assert "tokens_per_s" not in parts["update at 3B"], "its texts are fixed"
    assert parts["tiny update, two devices"]["moved"] > 0
    assert document["packages"]["torch"]
    assert document["sampling"].startswith("transformers, in the trainer's process: ")


def test_the_page_shows_the_figures_and_who_sampled(written: Path) -> None:
    shown = (written / "gpu_check.md").read_text()
    document = json.loads((written / "gpu_check.json").read_text())
    assert shown == page(document)
    assert f"Rollouts of the loop are sampled by {document['sampling']}." in shown
    for part in PARTS:
        assert f"| {part} | yes | " in shown


def test_a_part_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(module: str, job: dict[str, Any]) -> dict[str, Any]:
        if module == "training":
            raise RuntimeError("ModuleNotFoundError: No module named 'trl' | or another")
        return in_this_process(module, job)

    monkeypatch.setattr(__main__, "_run", fail)
    assert __main__.main(["--small", "--out", str(tmp_path)]) == 1
    parts = json.loads((tmp_path / "gpu_check.json").read_text())["parts"]
    assert [name for name, part in parts.items() if part["passed"]] == ["embedder"]
    assert (
        "| loop | no | RuntimeError: ModuleNotFoundError: No module named 'trl' \\| or another |"
        in (tmp_path / "gpu_check.md").read_text()
    )


def test_an_import_leaves_the_environment_as_it_was() -> None:
    program = "import os; before = dict(os.environ); import scripts.gpu_check; assert os.environ == before"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=240)


@pytest.mark.parametrize(
    ("visible", "used"),
    [
        (None, "0"),
        ("0", "0"),
        ("0,1", "0"),
        ("3,1", "3"),
        ("GPU-ab,GPU-cd", "GPU-ab"),
        ("", ""),
        ("-1", "-1"),
    ],
)
def test_one_gpu_is_used(visible: str | None, used: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    __main__.set_environment()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == used


def test_without_a_gpu_nothing_is_built_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(__main__, "check", None)
    assert __main__.main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "gpu_check: no GPU is visible: add --small for small models on this machine's CPU\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [SHAPE_3B, SHAPE_SMALL], ids=["3B", "small"])
def test_a_written_shape_has_a_tokenizer_for_all_its_words(shape: dict[str, Any], tmp_path: Path) -> None:
    folder = write_shape(shape, 896 * 896, tmp_path / "model")
    config = load_config(str(folder))
    assert config.get_text_config().vocab_size == shape["text_config"]["vocab_size"]
    assert len(forbidden_for(str(folder))) == 4, "the image's tokens alone"


def test_the_committed_page_is_that_of_the_committed_figures() -> None:
    figures = ROOT / "docs" / "gpu_check.json"
    document = json.loads(figures.read_text()) if figures.exists() else None
    assert (ROOT / "docs" / "gpu_check.md").read_text() == page(document)


def test_pydantic_settings_may_be_missing() -> None:
    code = (
        "import sys; sys.meta_path.insert(0, type('No', (), {'find_spec': staticmethod(lambda name, *_: (_ for _ in ())"
        ".throw(ModuleNotFoundError(name)) if name == 'pydantic_settings' else None)})); "
        "import importlib.util as util; found = util.find_spec; "
        "util.find_spec = lambda name, *_: None if name == 'pydantic_settings' else found(name, *_); "
        "import scripts.gpu_check; from ireasoner.trainer.settings import RunSettings; "
        "print(RunSettings(model='m', images='i', run_folder='r', group_size=3).rollouts_per_update)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["3"], done.stderr


def test_without_minilms_package_the_embedder_has_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise ModelNotPackaged("no weights")

    monkeypatch.setattr(embedding, "packaged_minilm", missing)
    result = embedding.measure(embedding.Job(devices=("cpu",), batch=2, seconds=0.01))
    assert result["weights"] == "all-MiniLM-L6-v2's shape, random"
    assert result["largest_difference"] == {"cpu": 0}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_part_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts.gpu_check", "--small", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "gpu_check.md").exists()
