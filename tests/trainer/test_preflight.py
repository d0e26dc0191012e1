"""What is found out before a run writes its folder."""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel
from PIL import Image
from rich.console import Console
from safetensors import safe_open

from ireasoner.clients import RequestRefused
from ireasoner.trainer.adapters.probe import probe
from ireasoner.trainer.errors import RolloutServerError, SettingsError
from ireasoner.trainer.loop.preflight import (
    check_files,
    check_model,
    check_servers,
    policy_shape,
    supported_config,
)
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.rollouts.server_kind import require_kind, server_kind
from ireasoner.trainer.settings import RunSettings
from tests.conftest import MODEL
from tests.rollout_server.running import free_port
from tests.trainer.http_stub import answering

REWARD = {"/readyz": (200, '{"ready": true, "last_pass": null}')}
LOADING = {"/readyz": (503, '{"ready": false, "last_pass": null}')}
ROLLOUT = {"/readyz": (200, ""), "/v1/models": (200, '{"object": "list", "data": [{"id": "m"}]}')}
PLAIN_VLLM = {"/v1/models": (200, '{"object": "list", "data": [{"id": "m"}]}')}
WEBSITE = {"/": (200, "<html>")}
GATE = {"/readyz": (401, "token?"), "/v1/models": (401, "token?")}
STARTING_GATEWAY = {"/readyz": (502, "no upstream"), "/v1/models": (502, "no upstream")}


def settings(folder: Path, **fields: Any) -> RunSettings:
    needed = {"model": str(MODEL), "images": folder / "images", "run_folder": folder / "run"}
    return RunSettings(**{**needed, **fields})


@pytest.fixture(scope="module")
def policy() -> PeftModel:
    """The tiny policy without storage, with adapters of the default rank."""
    of = RunSettings(model=str(MODEL), images=Path("i"), run_folder=Path("r"))
    return policy_shape(of, supported_config(str(MODEL), Console(quiet=True)))


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (REWARD, "reward server"),
        (LOADING, "reward server"),
        (ROLLOUT, "rollout server"),
        (PLAIN_VLLM, "rollout server"),
        (WEBSITE, "neither"),
        ({"/readyz": (200, "[1]"), "/v1/models": (200, '{"data": 3}')}, "neither"),
        (GATE, None),
        (STARTING_GATEWAY, None),
    ],
)
def test_a_server_shows_what_it_is(answers: Any, kind: str | None) -> None:
    with answering(answers) as url:
        assert server_kind(url) == kind


def test_no_server_says_nothing() -> None:
    assert server_kind(f"http://127.0.0.1:{free_port()}") is None
    require_kind("reward.url", f"http://127.0.0.1:{free_port()}", "reward server")


@pytest.mark.parametrize(
    ("reward", "rollout", "message"),
    [
        (
            ROLLOUT,
            REWARD,
            "reward.url: .* is a rollout server, not a reward server: are the two addresses swapped",
        ),
        (PLAIN_VLLM, REWARD, "reward.url: .* is a rollout server, not a reward server"),
        (REWARD, LOADING, "rollout.url: .* is a reward server, not a rollout server"),
        (WEBSITE, ROLLOUT, "reward.url: .* answers, but it is no reward server"),
        (REWARD, WEBSITE, "rollout.url: .* answers, but it is no rollout server"),
    ],
)
def test_a_run_at_the_wrong_server_ends_before_it_writes(
    reward: Any, rollout: Any, message: str, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (30, 30)).save(tmp_path / "images" / "one.png")
    with ExitStack() as servers:
        urls = [servers.enter_context(answering(each)) for each in (reward, rollout)]
        run = settings(tmp_path, reward={"url": urls[0]}, rollout={"url": urls[1]})
        with pytest.raises(SettingsError, match=message):
            train(run, Console(quiet=True))
    assert not (tmp_path / "run").exists()


class Refuses:
    """A rollout server that refuses to load an adapter, and remembers what it saw."""

    def __init__(self, reason: str | None) -> None:
        self.reason = reason
        self.seen: dict[str, Any] = {}
        self.unloaded: list[str] = []

    def models(self) -> list[str]:
        return ["m"]

    def load_adapter(self, name: str, path: str) -> None:
        folder = Path(path)
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as weights:
            names = list(weights.keys())
            self.seen = {each: weights.get_tensor(each) for each in names}
        self.config = json.loads((folder / "adapter_config.json").read_text())
        if self.reason is not None:
            raise RolloutServerError(self.reason)

    def unload_adapter(self, name: str) -> None:
        self.unloaded.append(name)


def test_the_probe_is_an_adapter_of_zeros_that_leaves_nothing_behind(
    policy: PeftModel, tmp_path: Path
) -> None:
    client: Any = Refuses(None)
    probe(client, policy, tmp_path / "run" / "adapters")
    assert client.config["r"] == 16
    a, b = (client.seen[name] for name in sorted(client.seen))
    assert (a.shape[0], b.shape[1]) == (16, 16)
    assert not a.any()
    assert not b.any()
    assert len(client.unloaded) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("reason", "error", "message"),
    [
        (
            "POST u: 500 LoRA rank 16 is greater than max_lora_rank 8.",
            SettingsError,
            "lora.r: the rollout server serves no adapter of rank 16: start it with --max-lora-rank 16",
        ),
        (
            "POST u: 404 Loading lora x failed: No adapter found for /p",
            SettingsError,
            "adapters_folder: the rollout",
        ),
        ('POST u: 404 {"detail":"Not Found"}', SettingsError, "VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
        ("POST u: 500 size mismatch", SettingsError, "does it serve it?"),
        ("POST u: 400 the base model differs", SettingsError, "does it serve it?"),
        ("POST u: ConnectError: refused; after 0 s of retries", RolloutServerError, "ConnectError"),
        ("POST u: 429 busy; after 0 s of retries", RolloutServerError, "429"),
        ("POST u: 503 slots: 4 used; after 0 s of retries", RolloutServerError, "503"),
        ("POST u: 401 token: 404 is none", RolloutServerError, "401"),
    ],
)
def test_a_refused_probe_names_the_setting(
    reason: str, error: type[Exception], message: str, policy: PeftModel, tmp_path: Path
) -> None:
    (tmp_path / "kept").mkdir()
    client: Any = Refuses(reason)
    with pytest.raises(error) as raised:
        probe(client, policy, tmp_path / "kept" / "adapters")
    assert message in str(raised.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


class Scores:
    """A reward server that refuses a config."""

    def __init__(self, status: int) -> None:
        self.status = status

    def score(self, endpoint: str, groups: Any, *, config: Any, progress: float, record: bool) -> None:
        raise RequestRefused(self.status, "no_such_config", "there is no config 'papr'; known configs: paper")


@pytest.mark.parametrize(
    ("status", "setting"), [(404, "reward.config"), (422, "reward.config"), (401, "token_file")]
)
def test_a_refused_score_names_the_setting(
    status: int, setting: str, policy: PeftModel, tmp_path: Path
) -> None:
    rollouts: Any = Refuses(None)
    rewards: Any = Scores(status)
    with pytest.raises(SettingsError, match=rf"{setting}: .* refuses: {status} .*known configs: paper"):
        check_servers(settings(tmp_path), rollouts, rewards, policy)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the tiny model's folder."""
    return Path(shutil.copytree(MODEL, tmp_path / "model"))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda model: (model / "config.json").write_text("[]"), "cannot be read"),
        (lambda model: (model / "config.json").write_text("{}"), "cannot be read"),
        (lambda model: (model / "config.json").write_text('"x"'), "cannot be read"),
        (lambda model: (model / "config.json").write_bytes(b"\xff\x00"), "cannot be read"),
        (lambda model: (model / "config.json").unlink(), "cannot be read"),
        (lambda model: (model / "config.json").write_text('{"model_type": "nosuch"}'), "cannot be read"),
        (
            lambda model: (model / "config.json").write_text('{"model_type": "clip"}'),
            "is no model that transformers can ask about an image",
        ),
        (lambda model: (model / "config.json").write_text('{"model_type": "qwen2"}'), "text-only model"),
        (
            lambda model: (model / "config.json").write_text(
                '{"model_type": "qwen2_5_vl", "text_config": 3}'
            ),
            "cannot be read",
        ),
        (lambda model: (model / "tokenizer.json").write_text("{"), "cannot be read"),
        (lambda model: (model / "model.safetensors").unlink(), "holds no weights"),
    ],
)
def test_a_broken_model_is_named(break_it: Any, message: str, copied: Path) -> None:
    break_it(copied)
    with pytest.raises(SettingsError, match=f"model: {copied}.*{message}"):
        check_whole(str(copied))


def check_whole(model: str) -> None:
    supported_config(model, Console(quiet=True))
    check_model(RunSettings(model=model, images=Path(), run_folder=Path()))


def test_a_whole_model_passes(copied: Path) -> None:
    check_whole(str(copied))


@pytest.fixture
def run_of_another_kind(tmp_path: Path) -> Path:
    """A folder with a file and a folder of someone else."""
    (tmp_path / "images").mkdir()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "adapters").mkdir()
    return tmp_path


def test_a_folder_that_no_run_began_is_not_touched(run_of_another_kind: Path) -> None:
    with pytest.raises(SettingsError, match=r"run_folder: .* already contains a run"):
        check_files(settings(run_of_another_kind))
    assert (run_of_another_kind / "run" / "adapters").is_dir()
