"""Configs by name: registered, listed, fixed once something was scored by them, and kept in a folder."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ireasoner.reward_server.__main__ import main
from ireasoner.reward_server.errors import (
    ConfigInUse,
    ConfigNotSaved,
    MalformedRequest,
    NoSuchConfig,
    TooManyConfigs,
)
from ireasoner.reward_server.ledger.source_file import named_scoring
from ireasoner.reward_server.scoring.registry import (
    MAX_CONFIGS,
    MAX_OWN_CONFIGS,
    SHARED,
    ConfigRegistry,
    UnreadableConfigs,
)
from ireasoner.reward_server.scoring_config import PAPER, PRESETS, ROBUST, ConfigOverrides
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.requests import group, rewards, rollout, score, score_group
from tests.reward_server.running import running

TEXTS = [rollout("7", "east"), rollout("7", "north"), rollout("8", "east")]


@pytest.fixture
def http(compass: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    """A server of its own, which keeps configs in the test's folder."""
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, configs_folder=tmp_path / "configs"
    )
    with running(settings) as url, httpx.Client(base_url=url) as http:
        yield http


def test_a_request_can_name_a_registered_config(http: httpx.Client) -> None:
    body = {"preset": "robust", "alpha": 1.0, "min_steps": 1}
    made = http.put("/configs/exp-12", json=body)
    assert made.status_code == 200, made.text
    assert (made.json()["name"], made.json()["used"], made.json()["config"]["alpha"]) == (
        "exp-12",
        False,
        1.0,
    )
    by_name = score(http, "solver", group(TEXTS), config="exp-12")
    spelled_out = score(http, "solver", group(TEXTS), config=body)
    assert {**by_name, "request_id": ""} == {**spelled_out, "request_id": ""}
    on_it = score(http, "solver", group(TEXTS), config={"preset": "exp-12", "alpha": 0.7})
    assert (
        on_it["fingerprint"]
        == score(http, "solver", group(TEXTS), config={**body, "alpha": 0.7})["fingerprint"]
    )


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({}, "paper"),
        ({"preset": "robust"}, "robust"),
        ({"preset": "mine"}, "mine"),
        ({"alpha": 1.0}, "paper+"),
        ({"alpha": PAPER.alpha}, "paper+"),
        ({"preset": "robust", "ties": ROBUST.ties}, "robust+"),
        ({"preset": "mine", "min_steps": 3}, "mine+"),
    ],
)
def test_a_label_has_a_mark_if_any_field_is_overridden(fields: dict[str, object], label: str) -> None:
    """By whatever value: what a registered name means is not known to all who label its config."""
    config = ConfigOverrides.model_validate(fields)
    assert config.config_label == label
    imported = named_scoring(config)
    assert imported is None if config.preset == "mine" else imported is not None and imported.label == label


def test_a_config_is_fixed_once_it_was_used(http: httpx.Client) -> None:
    assert http.put("/configs/mine", json={"alpha": 0.5}).status_code == 200
    assert http.put("/configs/mine", json={"alpha": 0.6}).json()["config"]["alpha"] == 0.6
    first = score_group(http, "outcome", TEXTS, config="mine")
    assert http.put("/configs/mine", json={"alpha": 0.6}).json()["used"] is True
    refused = http.put("/configs/mine", json={"alpha": 0.5})
    problem = refused.json()
    assert refused.status_code == problem["status"] == 409
    assert (problem["code"], problem["retryable"]) == ("config_in_use", False)
    assert refused.headers["content-type"] == "application/problem+json"
    assert score_group(http, "outcome", TEXTS, config="mine") == first


def test_using_a_config_as_a_base_fixes_it_too(http: httpx.Client) -> None:
    http.put("/configs/base", json={"alpha": 0.5})
    score_group(http, "outcome", TEXTS, config={"preset": "base", "eta": 0.0})
    assert http.put("/configs/base", json={"alpha": 0.6}).status_code == 409


def test_a_config_keeps_what_its_base_meant_when_it_was_registered(http: httpx.Client) -> None:
    http.put("/configs/base", json={"alpha": 0.5})
    http.put("/configs/top", json={"preset": "base", "eta": 0.0})
    http.put("/configs/base", json={"alpha": 0.9})
    assert http.get("/configs/top").json()["config"]["alpha"] == 0.5


def test_an_unused_config_can_be_deleted(http: httpx.Client, tmp_path: Path) -> None:
    registered = http.put("/configs/mine", json={"alpha": 0.5}).json()
    deleted = http.delete("/configs/mine")
    assert (deleted.status_code, deleted.json()) == (200, registered)
    assert [*(tmp_path / "configs").iterdir()] == []
    assert "mine" not in {each["name"] for each in http.get("/configs").json()["configs"]}
    for again in (http.delete("/configs/mine"), http.get("/configs/mine")):
        assert (again.status_code, again.json()["code"]) == (404, "no_such_config")
    assert http.put("/configs/mine", json={"alpha": 0.6}).json()["config"]["alpha"] == 0.6


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("paper", 409, "is a preset, so it cannot be deleted"),
        ("robust", 409, "is a preset"),
        ("used", 409, "was used for scoring"),
        ("base", 409, "was used for scoring"),
        ("never", 404, "there is no config 'never'"),
        (".hidden", 404, "there is no config '.hidden'"),
        ("a" * 65, 404, "there is no config"),
        ("..%2F..%2Ftokens", 404, ""),
    ],
)
def test_what_cannot_be_deleted(compass_http: httpx.Client, name: str, status: int, reason: str) -> None:
    for registered in ("used", "base"):
        compass_http.put(f"/configs/{registered}", json={"alpha": 0.5})
    score_group(compass_http, "outcome", TEXTS, config="used")
    score_group(compass_http, "outcome", TEXTS, config={"preset": "base", "eta": 0.0})
    refused = compass_http.delete(f"/configs/{name}")
    assert refused.status_code == status
    assert reason in refused.json()["detail"]


def test_an_experiment_deletes_its_own_configs_only() -> None:
    registry = ConfigRegistry()
    for experiment, alpha in (("a", 0.2), ("b", 0.3), (SHARED, 0.1)):
        registry.put("mine", ConfigOverrides(alpha=alpha), experiment)
    with pytest.raises(ConfigInUse, match="is shared"):
        registry.delete("mine", "c")
    assert registry.delete("mine", "a").config.alpha == 0.2
    assert [registry.get("mine", experiment).config.alpha for experiment in ("a", "b")] == [0.1, 0.3]
    assert registry.delete("mine").config.alpha == 0.1
    with pytest.raises(NoSuchConfig):
        registry.delete("mine", "a")
    assert registry.get("mine", "b").config.alpha == 0.3


def test_a_deleted_config_makes_room_for_another() -> None:
    registry = ConfigRegistry()
    for number in range(MAX_OWN_CONFIGS):
        registry.put(f"c{number}", ConfigOverrides(), "a")
    with pytest.raises(TooManyConfigs):
        registry.put("more", ConfigOverrides(), "a")
    registry.delete("c7", "a")
    registry.put("more", ConfigOverrides(), "a")


def test_servers_that_share_a_folder_know_what_one_of_them_deletes(tmp_path: Path) -> None:
    one, other = ConfigRegistry(tmp_path), ConfigRegistry(tmp_path)
    for owner in (SHARED, "a"):
        one.put("mine", ConfigOverrides(alpha=0.5), owner)
        assert other.get("mine", owner).config.alpha == 0.5
        other.delete("mine", owner)
        assert "mine" not in {named.name for named in one.all(owner)}
        with pytest.raises(NoSuchConfig):
            one.get("mine", owner)
    one.put("mine", ConfigOverrides(alpha=0.5))
    other.use(ConfigOverrides(preset="mine"))
    with pytest.raises(ConfigInUse):
        one.delete("mine")


def test_a_config_whose_file_cannot_be_deleted_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ConfigRegistry(tmp_path)
    registry.put("mine", ConfigOverrides(alpha=0.5))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError("read-only")))
        with pytest.raises(ConfigNotSaved, match="read-only"):
            registry.delete("mine")
    assert registry.get("mine").config.alpha == 0.5
    registry.delete("mine")


def test_listing(http: httpx.Client) -> None:
    http.put("/configs/mine", json="robust")
    listed = http.get("/configs").json()["configs"]
    assert [each["name"] for each in listed] == sorted(["mine", *PRESETS])
    assert [each["name"] for each in listed if not each["used"]] == ["mine"]
    by_name = {each["name"]: each for each in listed}
    assert http.get("/configs/mine").json() == by_name["mine"]
    assert by_name["mine"]["config"] == by_name["robust"]["config"] == ROBUST.model_dump()
    assert http.get("/configs/nope").json()["code"] == "no_such_config"


@pytest.mark.parametrize(
    ("name", "body", "status", "reason"),
    [
        ("paper", {"alpha": 0.5}, 409, "is a preset"),
        (".hidden", {}, 422, "a name has 1 to 64 letters"),
        ("a" * 65, {}, 422, "a name has 1 to 64 letters"),
        ("a b", {}, 422, "a name has 1 to 64 letters"),
        ("mine", {"alhpa": 0.5}, 422, "not permitted"),
        ("mine", {"alpha": "NaN"}, 422, "valid number"),
        ("mine", {"preset": "nope"}, 422, "no config 'nope'"),
        ("mine", {"think_tag": "a|b"}, 422, "match pattern"),
    ],
)
def test_refusals(compass_http: httpx.Client, name: str, body: object, status: int, reason: str) -> None:
    refused = compass_http.put(f"/configs/{name}", json=body)
    assert refused.status_code == status
    reasons = [refused.json()["detail"], *[fault["reason"] for fault in refused.json()["errors"]]]
    assert any(reason in each for each in reasons), reasons


def test_a_preset_may_be_put_as_it_is(compass_http: httpx.Client) -> None:
    assert compass_http.put("/configs/paper", json={}).status_code == 200


def test_the_folder_keeps_names_and_their_use_beyond_the_server(tmp_path: Path) -> None:
    registry = ConfigRegistry(tmp_path)
    registry.put("used", ConfigOverrides(alpha=0.5))
    registry.put("unused", ConfigOverrides(preset="robust"))
    registry.use(ConfigOverrides(preset="used"))
    reopened = ConfigRegistry(tmp_path)
    assert reopened.all() == registry.all()
    with pytest.raises(ConfigInUse):
        reopened.put("used", ConfigOverrides(alpha=0.6))
    reopened.put("unused", ConfigOverrides(alpha=0.6))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["unused.json", "used.json"]


def test_servers_that_share_a_folder_know_what_one_of_them_registers(tmp_path: Path) -> None:
    one, other = ConfigRegistry(tmp_path), ConfigRegistry(tmp_path)
    one.put("mine", ConfigOverrides(alpha=0.5))
    one.put("mine", ConfigOverrides(alpha=0.6))
    assert other.get("mine").config.alpha == 0.6
    other.use(ConfigOverrides(preset="mine"))
    with pytest.raises(ConfigInUse):
        one.put("mine", ConfigOverrides(alpha=0.7))


def test_without_a_folder_names_end_with_the_server() -> None:
    ConfigRegistry().put("mine", ConfigOverrides())
    with pytest.raises(MalformedRequest):
        ConfigRegistry().use(ConfigOverrides(preset="mine"))


OTHER_VERSION = json.dumps({"used": True, "config": PAPER.model_dump() | {"template_guard": False}})


@pytest.mark.parametrize(
    "content", ["{}", '{"used": true, "config": {"alpha": "x"}}', "[]", "7", OTHER_VERSION]
)
def test_a_file_that_is_not_a_config_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "mine.json").write_text(content)
    with pytest.raises(UnreadableConfigs, match=r"mine\.json"):
        ConfigRegistry(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b'{"used": true, "config": {"al', b"\x00" * 40, b"\xff\xfe{"])
@pytest.mark.parametrize("when", ["before the start", "while the server runs"])
def test_a_torn_file_is_set_aside_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes, when: str
) -> None:
    registry = ConfigRegistry(tmp_path) if when == "while the server runs" else None
    (tmp_path / "mine.json").write_bytes(content)
    registry = registry or ConfigRegistry(tmp_path)
    with pytest.raises(NoSuchConfig):
        registry.get("mine")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "mine.json is not JSON" in caplog.text
    registry.put("mine", ConfigOverrides(alpha=0.5))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.json", "mine.json.torn"]


@pytest.mark.parametrize("content", [OTHER_VERSION, "{}", "[]"])
def test_a_config_that_another_version_saves_while_the_server_runs_is_a_problem(
    http: httpx.Client, tmp_path: Path, content: str
) -> None:
    (tmp_path / "configs" / "mine.json").write_text(content)
    answers = [
        http.get("/configs/mine"),
        http.put("/configs/mine", json={}),
        http.post("/score/outcome", json={"groups": [group(TEXTS)], "config": "mine"}),
        http.post("/cohort/remote?group_size=1&config=mine", json={"prompt": "p", "response": "r"}),
    ]
    assert [(each.status_code, each.json()["code"]) for each in answers] == [(409, "config_unreadable")] * 4
    assert http.get("/configs").status_code == 200
    assert http.put("/configs/other", json={}).status_code == 200


def test_a_failed_write_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ConfigRegistry(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigNotSaved, match="no space"):
        registry.put("mine", ConfigOverrides())
    assert list(tmp_path.iterdir()) == []


def test_drafts_of_a_killed_server_are_removed_and_those_of_a_running_one_stay(tmp_path: Path) -> None:
    for name, age_s in (("old.tmp", 3600), ("new.tmp", 0)):
        (tmp_path / name).write_text("{")
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    ConfigRegistry(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["new.tmp"]


def test_names_belong_to_the_experiment_that_registered_them(tmp_path: Path) -> None:
    registry = ConfigRegistry(tmp_path)
    registry.put("mine", ConfigOverrides(alpha=0.5), "a")
    registry.put("mine", ConfigOverrides(alpha=0.6), "b")
    registry.use(ConfigOverrides(preset="mine"), "b")
    registry.put("mine", ConfigOverrides(alpha=0.7), "a")
    for known in (registry, ConfigRegistry(tmp_path)):
        assert [known.get("mine", owner).config.alpha for owner in "ab"] == [0.7, 0.6]
        assert [known.get("mine", owner).used for owner in "ab"] == [False, True]
        for call in (
            known.get,
            lambda name, owner, known=known: known.use(ConfigOverrides(preset=name), owner),
        ):
            with pytest.raises((NoSuchConfig, MalformedRequest)) as error:
                call("mine", "c")
            assert "mine" not in str(error.value).split("known configs:")[1]
        assert [named.name for named in known.all("c")] == sorted(PRESETS)


def test_shared_configs_can_be_named_by_all_and_replaced_by_none(tmp_path: Path) -> None:
    registry, other = ConfigRegistry(tmp_path), ConfigRegistry(tmp_path)
    registry.put("house", ConfigOverrides(alpha=0.5))
    for known in (registry, other):
        assert known.use(ConfigOverrides(preset="house"), "a").alpha == 0.5
        assert known.put("house", ConfigOverrides(alpha=0.5), "a").config.alpha == 0.5
        with pytest.raises(ConfigInUse):
            known.put("house", ConfigOverrides(alpha=0.6), "a")


@pytest.mark.parametrize("experiment", ["..", ".", "a.b", "-x", "A"])
def test_an_experiments_folder_is_inside_the_folder(tmp_path: Path, experiment: str) -> None:
    folder = tmp_path / "configs"
    ConfigRegistry(folder).put("mine", ConfigOverrides(alpha=0.5), experiment)
    assert [file.parent.parent for file in tmp_path.rglob("*.json")] == [folder]
    assert ConfigRegistry(folder).get("mine", experiment).config.alpha == 0.5


def test_presets_and_own_names_that_were_used_need_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = ConfigRegistry(tmp_path)
    registry.put("mine", ConfigOverrides(alpha=0.5), "a")
    registry.use(ConfigOverrides(preset="mine"), "a")
    looked_for: list[str] = []

    def looking(name: str, owner: str) -> Path:
        looked_for.append(name)
        return file_of(name, owner)

    file_of = registry._file
    monkeypatch.setattr(registry, "_file", looking)
    for name in (*PRESETS, "mine"):
        registry.use(ConfigOverrides(preset=name), "a")
    assert looked_for == []
    with pytest.raises(NoSuchConfig):
        registry.get("other", "a")
    assert looked_for == ["other", "other"], "in the experiment's folder, and among the shared ones"


def test_one_experiment_cannot_take_all_names() -> None:
    registry = ConfigRegistry()
    for number in range(MAX_OWN_CONFIGS):
        registry.put(f"c{number}", ConfigOverrides(), "a")
    with pytest.raises(TooManyConfigs):
        registry.put("one-more", ConfigOverrides(), "a")
    for owner in ("b", SHARED):
        registry.put("one-more", ConfigOverrides(), owner)


def test_a_config_of_another_version_ends_the_server_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.json").write_text(OTHER_VERSION)
    assert main(["--configs-folder", str(tmp_path)]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("reward-server: ")]
    assert "mine.json: not a config of this version (template_guard: Extra inputs" in line
    assert line.endswith("register the config again")


def test_a_preset_cannot_be_redefined_by_a_file(tmp_path: Path) -> None:
    config = PAPER.model_dump() | {"alpha": 0.1}
    (tmp_path / "paper.json").write_text(json.dumps({"used": False, "config": config}))
    with pytest.raises(UnreadableConfigs, match="'paper' is a preset of the server: rename the file"):
        ConfigRegistry(tmp_path)


def test_a_name_that_cannot_be_fixed_scores_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "configs"
    registry = ConfigRegistry(folder)
    registry.put("mine", ConfigOverrides(alpha=0.5))
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    with pytest.raises(ConfigNotSaved):
        registry.use(ConfigOverrides(preset="mine"))
    with pytest.raises(ConfigNotSaved):
        registry.delete("mine")
    assert registry.get("mine").used is False


def test_the_number_of_configs_is_bounded() -> None:
    registry = ConfigRegistry()
    for number in range(MAX_CONFIGS - len(PRESETS)):
        registry.put(f"c{number}", ConfigOverrides())
    with pytest.raises(TooManyConfigs):
        registry.put("one-more", ConfigOverrides())
    registry.put("c0", ConfigOverrides(alpha=0.5))


@pytest.mark.parametrize("name", list(PAPER.model_dump()))
def test_every_field_is_in_the_fingerprint(compass_http: httpx.Client, name: str) -> None:
    schema = compass_http.get("/openapi.json").json()["components"]["schemas"]["ScoringConfig"]["properties"][
        name
    ]
    default = schema["default"]
    if "enum" in schema:
        other = next(each for each in schema["enum"] if each != default)
    elif schema["type"] == "boolean":
        other = not default
    elif schema["type"] == "string":
        other = f"{default}2"
    else:
        other = 3 if schema["type"] == "integer" and default != 3 else 0.5
    changed = score(compass_http, "outcome", group(TEXTS), config={name: other})
    assert changed["fingerprint"] != score(compass_http, "outcome", group(TEXTS))["fingerprint"]


EXTREMES = {
    "alpha": [0.0, 1e6],
    "eta": [1.0],
    "tau_words": [5e-324, 1e6],
    "gamma": [0.0, 1e6],
    "position_decay": [1e6],
    "entropy_width_nats": [5e-324, 1e6],
    "entropy_target_nats": [1e6],
    "cosine_floor": [0.99],
    "distinct_exponent": [1e6],
    "min_dominant_share": [1.0],
    "lambda_max": [1.0],
}


@pytest.mark.parametrize("preset", ["paper", "robust"])
def test_responses_never_contain_nan_or_infinity(compass_http: httpx.Client, preset: str) -> None:
    texts = [rollout("7", "east", "west"), rollout("7", "west", "east"), rollout("7", "north"), rollout("8")]
    for name, values in EXTREMES.items():
        for value in values:
            scored = score_group(compass_http, "solver", texts, config={"preset": preset, name: value})
            assert all(0 <= reward <= 1 for reward in rewards(scored)), (name, value)
            assert 0 <= scored["proposer_reward"] <= 1
