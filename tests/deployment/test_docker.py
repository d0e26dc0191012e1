"""The Dockerfiles and the compose file, as far as that can be told without an engine (`docker/selftest` has one)."""

import json
import os
import re
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import CliApp

from ireasoner.reward_server.api.tokens import Tokens
from ireasoner.reward_server.settings import RewardServerSettings
from ireasoner.reward_server.settings import read_settings as read_reward_settings
from ireasoner.rollout_server.settings import read_settings as read_rollout_settings
from ireasoner.trainer.settings import RunSettings, read_toml
from tests.deployment.compose_file import FOLDER, ROOT, compose_file, services

PROFILES = ("gpu", "cpu")
PROCESSES = {
    "gpu": ("reward-server", "rollout-server", "trainer"),
    "cpu": ("reward-server", "rollout-server-cpu", "trainer-cpu"),
}
BIN = Path(sys.executable).parent


def is_valid(document: dict[str, Any], folder: Path) -> bool:
    """Whether the compose specification's own schema takes it."""
    file = folder / "compose.json"
    file.write_text(json.dumps(document))
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def reward_server_settings() -> RewardServerSettings:
    """What the reward server's image runs with."""
    words: list[str] = json.loads((FOLDER / "reward-server.Dockerfile").read_text().rpartition("CMD ")[2])
    return read_reward_settings(words)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.Dockerfile")), ids=lambda file: file.stem)
def test_hadolint_finds_nothing(file: Path) -> None:
    found = subprocess.run(
        [BIN / "hadolint", "--no-color", file], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_the_compose_file_is_one(tmp_path: Path) -> None:
    document = compose_file()
    assert is_valid(document, tmp_path)
    document["services"]["trainer"]["depends_on"]["reward-server"]["condition"] = "service_heathly"
    assert not is_valid(document, tmp_path)


@pytest.mark.parametrize("profile", PROFILES)
def test_all_that_a_service_names_is_there(profile: str) -> None:
    document, active = compose_file(), services(profile)
    for service in active.values():
        assert set(service.get("depends_on", ())) <= set(active)
        assert set(service.get("secrets", ())) <= set(document["secrets"])
        named = {volume.split(":")[0] for volume in service["volumes"] if isinstance(volume, str)}
        assert named <= set(document["volumes"])
    built = {one["image"]: one["build"]["dockerfile"] for one in active.values() if "build" in one}
    assert {service["image"] for service in active.values()} == set(built)
    assert all((ROOT / dockerfile).is_file() for dockerfile in built.values())


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_starts_all_three_processes_in_the_order_of_their_health(profile: str) -> None:
    active = services(profile)
    reward, rollout, trainer = PROCESSES[profile]
    assert {reward, rollout, trainer} <= set(active)
    for server in (reward, rollout):
        assert active[trainer]["depends_on"][server]["condition"] == "service_healthy"
        assert active[server]["healthcheck"]["test"][:2] == ["CMD", "ready"]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_service_is_confined(profile: str) -> None:
    for service in services(profile).values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["mem_limit"]
        assert service["pids_limit"]
    for file in FOLDER.glob("*.Dockerfile"):
        assert "\nUSER 10001:10001\n" in file.read_text().rpartition("\nFROM ")[2]


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_is_published_beyond_loopback_unless_asked(profile: str) -> None:
    def published(variables: dict[str, str]) -> set[str]:
        found = services(profile, variables).values()
        return {port.split(":")[0] for service in found for port in service.get("ports", ())}

    assert published({}) == {"127.0.0.1"}
    assert published({"PUBLISH_ADDRESS": "0.0.0.0"}) == {"0.0.0.0"}


def test_gpus_are_assigned_by_variable() -> None:
    active = services("gpu", {"ROLLOUT_GPUS": "2,3", "TRAINER_GPU": "5"})
    for name, gpus in (("rollout-server", "2,3"), ("trainer", "5")):
        [device] = active[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        assert active[name]["environment"]["CUDA_VISIBLE_DEVICES"] == gpus
        assert active[name]["environment"]["HF_TOKEN_PATH"] == "/run/secrets/hub_token"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_token_that_is_made_opens_the_server_to_the_trainer(profile: str, tmp_path: Path) -> None:
    """`new-token` writes the files of the secrets, which are mounted where the processes look for them."""
    folder = tmp_path / "secrets"
    make = partial(
        subprocess.run,
        env={**os.environ, "SECRETS": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    for name in ("trainer", "run-8"):
        assert make([FOLDER / "new-token", name]).returncode == 0
    assert "cannot overwrite" in make([FOLDER / "new-token", "trainer"]).stderr
    assert make([FOLDER / "new-token", "../trainer"]).returncode == 2
    assert folder.stat().st_mode & 0o777 == 0o700

    document, active = compose_file({"SECRETS": str(folder)}), services(profile)
    files = {f"/run/secrets/{name}": Path(one["file"]) for name, one in document["secrets"].items()}
    reward, _, trainer = PROCESSES[profile]
    [shown] = [flag.partition("=")[2] for flag in active[trainer]["command"] if "token-file" in flag]
    asked = str(reward_server_settings().tokens_file)
    assert shown.removeprefix("/run/secrets/") in active[trainer]["secrets"]
    assert asked.removeprefix("/run/secrets/") in active[reward]["secrets"]
    for file in (files[shown], files[asked]):
        assert file.stat().st_mode & 0o777 == 0o644  # the containers' user is another than the owner
    tokens = Tokens(files[asked])
    assert tokens.experiment(files[shown].read_text().strip()) == "trainer"
    assert tokens.experiment((folder / "run-8.token").read_text().strip()) == "run-8"


@pytest.mark.parametrize("profile", PROFILES)
def test_every_flag_of_a_command_is_one(profile: str, tmp_path: Path) -> None:
    active = services(profile)
    _, rollout, trainer = PROCESSES[profile]

    folder, *flags = active[trainer]["command"]
    config = next(flag.partition("=")[2] for flag in flags if flag.startswith("--config="))
    run = CliApp.run(RunSettings, ["--run-folder", folder, *flags], **read_toml(ROOT / config))
    assert run.rollout.url == "http://rollout-server:8020"
    assert run.updates == tomllib.loads((ROOT / config).read_text())["updates"], "no other default"

    server = read_rollout_settings(active[rollout]["command"])
    assert server.model == run.model
    assert server.max_lora_rank >= run.lora.r

    assert reward_server_settings().host == "0.0.0.0"


@pytest.mark.parametrize(
    ("further", "words"),
    [
        ("", []),
        ("--reward.config views --views.names plain,jpeg", ["--reward.config", "views", "--views.names", "plain,jpeg"]),
        ("""--dry-run --grpo 'learning_rate=1e-5'\n--reward.overrides '{"votes": "cross"}'""",
         ["--dry-run", "--grpo", "learning_rate=1e-5", "--reward.overrides", '{"votes": "cross"}']),
    ],
)  # fmt: skip
@pytest.mark.parametrize("resumed", [False, True])
def test_the_trainer_takes_further_flags(
    further: str, words: list[str], resumed: bool, tmp_path: Path
) -> None:
    """As a shell reads them; compose passes the variable to the trainers of both profiles."""
    for profile in PROFILES:
        trainer = services(profile, {"TRAIN_FLAGS": "--dry-run"})[PROCESSES[profile][2]]
        assert trainer["environment"]["TRAIN_FLAGS"] == "--dry-run"
    (tmp_path / "ireasoner").write_text("#!/bin/bash\nprintf '%s\\n' \"$@\"\n")
    (tmp_path / "ireasoner").chmod(0o755)
    run = tmp_path / "run"
    run.mkdir()
    if resumed:
        (run / "settings.json").touch()
    shown = subprocess.run(
        [FOLDER / "train", str(run), "--model=m"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "TRAIN_FLAGS": further},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    resume = ["--resume"] if resumed else []
    assert shown.splitlines() == ["train", "--run-folder", str(run), "--model=m", *resume, *words]


def test_flags_that_cannot_be_read_start_no_run(tmp_path: Path) -> None:
    (tmp_path / "ireasoner").write_text("#!/bin/bash\necho started\n")
    (tmp_path / "ireasoner").chmod(0o755)
    ended = subprocess.run(
        [FOLDER / "train", str(tmp_path), "--model=m"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "TRAIN_FLAGS": "--reward.config 'views"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "TRAIN_FLAGS cannot be read: --reward.config 'views" in ended.stderr


def test_a_run_can_be_evaluated_where_it_was_trained() -> None:
    """The rollout server reads the adapters of runs at the address that the trainer gives them."""
    for profile in PROFILES:
        _, rollout, trainer = (services(profile)[name] for name in PROCESSES[profile])
        assert "runs:/runs:ro" in rollout["volumes"]
        assert "runs:/runs" in trainer["volumes"]


@pytest.mark.parametrize(("device", "file"), [("cpu", "constraints.txt"), ("gpu", "constraints-gpu.txt")])
def test_all_that_an_image_asks_for_is_pinned(device: str, file: str) -> None:
    def name(line: str) -> str:
        return re.split(r"[^\w.-]", line)[0].lower().replace("_", "-")

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (device, "otel", "redis", "reward-server", "rollout-server", "sentence-transformers", "trainer")
    asked = [
        *project["dependencies"],
        *(one for extra in extras for one in project["optional-dependencies"][extra]),
    ]
    ranges = [line for line in asked if "==" not in line]
    pinned = [line for line in (ROOT / file).read_text().splitlines() if "==" in line]
    assert {name(line) for line in ranges} <= {name(line) for line in pinned}


@pytest.mark.parametrize("script", ["base-image", "new-token", "ready", "selftest", "train"])
def test_the_scripts_are_shell(script: str) -> None:
    subprocess.run(["bash", "-n", FOLDER / script], check=True)
    assert (FOLDER / script).stat().st_mode & 0o111
