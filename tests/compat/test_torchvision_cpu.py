"""The repairs in fresh interpreters: what they repair, and what they leave alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ireasoner.compat.repairs import STARTUP, environment

RESIZE = (
    "import torch; from torchvision.transforms import v2\n"
    "image = torch.arange(16.0).reshape(1, 4, 4)\n"
    "print(tuple(v2.functional.resize(image, [2, 2], antialias=True).shape))"
)


def run(code: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)


@pytest.fixture
def bare() -> dict[str, str]:
    """The environment without the repairs."""
    kept = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != str(STARTUP)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(kept)}


@pytest.fixture
def stand_in(tmp_path: Path, bare: dict[str, str]) -> dict[str, str]:
    """An environment whose torch and torchvision are stand-ins that record the operators that are defined.

    They cover combinations that no single machine has: TORCH_CUDA sets the stand-in's `torch.version.cuda`, and WHOLE
    makes the extension register its own operators.
    """
    torch = tmp_path / "torch.py"
    torch.write_text(
        "import os, types\n"
        "version = types.SimpleNamespace(cuda=os.environ.get('TORCH_CUDA'), hip=None)\n"
        "ops = types.SimpleNamespace(torchvision=types.SimpleNamespace())\n"
        "defined = []\n"
        "class Library:\n"
        "    def __init__(self, namespace, kind): pass\n"
        "    def define(self, schema): defined.append(schema)\n"
        "library = types.SimpleNamespace(Library=Library)\n"
    )
    package = tmp_path / "torchvision"
    package.mkdir()
    package.joinpath("__init__.py").write_text("from . import extension\n")
    package.joinpath("extension.py").write_text(
        "import os, torch\n"
        "if os.environ.get('WHOLE'):\n"
        "    torch.ops.torchvision.nms = torch.ops.torchvision.qnms = print\n"
    )
    return {**bare, "PYTHONPATH": str(tmp_path)}


def test_torchvision_imports_in_every_process_that_inherits_the_environment(bare: dict[str, str]) -> None:
    spawned = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {RESIZE!r}], check=True)\n"
    done = run(spawned, environment(bare))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 2, 2)"


def test_install_repairs_the_process_it_is_called_in(bare: dict[str, str]) -> None:
    done = run(f"from ireasoner.compat.repairs import install\ninstall(); install()\n{RESIZE}", bare)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(1, 2, 2)"


@pytest.mark.slow
def test_without_the_repairs_a_cuda_wheel_fails_with_a_cpu_torch(bare: dict[str, str]) -> None:
    builds = run("import importlib.metadata as m; print(m.version('torch'), m.version('torchvision'))", bare)
    if "+cpu" not in builds.stdout.split()[0] or "+cpu" in builds.stdout.split()[1]:
        pytest.skip(f"this pair needs no repair: {builds.stdout.strip()}")
    done = run("import torchvision", bare)
    assert done.returncode != 0
    assert "torchvision::nms does not exist" in done.stderr


@pytest.mark.slow
def test_a_missing_operator_says_so_when_called(bare: dict[str, str]) -> None:
    done = run(
        "import torch, torchvision\n"
        "from torchvision.extension import _has_ops\n"
        "print('whole' if _has_ops() else '', flush=True)\n"
        "torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)",
        environment(bare),
    )
    if "whole" in done.stdout:
        pytest.skip("torchvision has its own operators here")
    assert "Couldn't load custom C++ ops" in done.stderr


@pytest.mark.slow
def test_torchaudio_imports_and_its_python_part_works(bare: dict[str, str]) -> None:
    done = run(
        "import torch, torchaudio\n"
        "print(tuple(torchaudio.transforms.Resample(16000, 8000)(torch.zeros(1, 160)).shape))",
        environment(bare),
    )
    assert done.stdout.strip() == "(1, 80)", done.stderr


@pytest.mark.slow
def test_torchcodec_imports_or_raises_import_error(bare: dict[str, str]) -> None:
    done = run(
        "try: from torchcodec.decoders import AudioDecoder\nexcept ImportError as error: print(error.name)",
        environment(bare),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("", "torchcodec")


def test_python_starts_without_importing_torch(bare: dict[str, str]) -> None:
    done = run("import sys; print('torch' in sys.modules, 'torchvision' in sys.modules)", environment(bare))
    assert done.stdout.strip() == "False False"


@pytest.mark.parametrize(
    ("extra", "count"), [({}, 2), ({"WHOLE": "1"}, 0), ({"TORCH_CUDA": "13.0"}, 0)], ids=str
)
def test_only_operators_missing_on_a_cpu_torch_are_defined(
    stand_in: dict[str, str], extra: dict[str, str], count: int
) -> None:
    done = run("import torchvision, torch; print(len(torch.defined))", environment({**stand_in, **extra}))
    assert done.stdout.strip() == str(count), done.stderr


def test_a_missing_torchvision_stays_missing(bare: dict[str, str]) -> None:
    code = "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\nimport torchvision"
    done = run(code, environment(bare))
    assert "No module named 'torchvision'" in done.stderr


def test_another_sitecustomize_still_runs(tmp_path: Path, bare: dict[str, str]) -> None:
    tmp_path.joinpath("sitecustomize.py").write_text("import sys; sys.other_ran = True\n")
    env = environment({**bare, "PYTHONPATH": str(tmp_path)})
    done = run("import sys; print(sys.other_ran, any('_Finder' in repr(f) for f in sys.meta_path))", env)
    assert done.stdout.strip() == "True True", done.stderr


def test_the_startup_folder_is_added_once_and_first() -> None:
    env = environment(environment({"PYTHONPATH": "/a", "HOME": "/h"}))
    assert env == {"PYTHONPATH": os.pathsep.join([str(STARTUP), "/a"]), "HOME": "/h"}
