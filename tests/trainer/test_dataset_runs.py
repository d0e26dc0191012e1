"""A run on a dataset: what it logs, records, and refuses when it goes on."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ireasoner.trainer.errors import ImagesError, SettingsError
from ireasoner.trainer.images import ImageFolder, open_images
from ireasoner.trainer.loop.ranks import Ranks
from ireasoner.trainer.loop.train import open_run_folder
from ireasoner.trainer.run_folder.image_list import image_changes, write_image_list
from ireasoner.trainer.run_folder.run_folder import read_lines, refuse_other_run
from ireasoner.trainer.settings import ImageDataSettings, RunSettings
from tests.trainer.datasets_of_images import IN_ROWS, encoded, images, parquet, tar
from tests.trainer.offline import OfflineRollouts, Strike, offline_settings, offline_trainer, reasoning


def say(policy: str, request: int, member: int) -> str:
    return (
        f"<question>Is it {request}?</question>"
        if "proposer" in policy
        else reasoning(1 + request + member % 2)
    )


def record(run: Path, address: Path, *, accept_changed: bool = False, **data: Any) -> list[str]:
    run.mkdir(exist_ok=True)
    found = open_images(address, ImageDataSettings(**data))
    changes = image_changes(run, found, accept_changed=accept_changed)
    write_image_list(run, found)
    return changes


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a row with as many bytes": (
        lambda path: parquet(path, [encoded(0), encoded(1)[:-4] + b"abcd", encoded(2)]),
        r"1 replaced: row 1 \(",
    ),
    "another image": (
        lambda path: parquet(path, [encoded(0), encoded(9), encoded(2)]),
        r"1 replaced: row 1 \(",
    ),
    "a row more": (lambda path: parquet(path, images(4)), "1 added: row 3"),
    "a row less": (lambda path: parquet(path, images(2)), "1 removed: row 2"),
    "a torn row": (
        lambda path: parquet(path, [encoded(0), b"torn", encoded(2)]),
        r"1 removed: row 1 \(no image in one of",
    ),
    "another order": (
        lambda path: parquet(path, [encoded(1), encoded(0), encoded(2)]),
        r"2 replaced: row 0 \(.*, row 1 \(",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_changed_rows_are_refused_with_their_numbers(kind: str, tmp_path: Path) -> None:
    address, run = parquet(tmp_path / "a.parquet", images(3)), tmp_path / "run"
    change, line = CHANGES[kind]
    assert record(run, address) == []
    change(address)
    with pytest.raises(
        ImagesError, match=rf"^resume: the usable images in .*a\.parquet are not(?s:.*){line}"
    ):
        record(run, address)
    assert len(record(run, address, accept_changed=True)) == 1
    assert record(run, address) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda path: parquet(path, images(3)),
        lambda path: parquet(path, images(3), caption=["a", "b", "c"]),
        lambda path: path.rename(path.with_name("b.parquet")).rename(path),
    ],
    ids=["written again", "another column", "moved away and back"],
)
def test_equal_images_are_no_change(change: Callable[[Path], object], tmp_path: Path) -> None:
    address, run = parquet(tmp_path / "a.parquet", images(3)), tmp_path / "run"
    record(run, address)
    change(address)
    assert record(run, address) == []


def test_a_stream_is_compared_by_its_files(tmp_path: Path) -> None:
    address, run = parquet(tmp_path / "a.parquet", images(9)), tmp_path / "run"
    record(run, address, streaming=True, shuffle_buffer=2)
    assert record(run, address, streaming=True, shuffle_buffer=2) == []
    parquet(address, images(12))
    with pytest.raises(ImagesError, match=r"1 data files: .*a\.parquet \([\d,]+ -> [\d,]+ bytes\)"):
        record(run, address, streaming=True, shuffle_buffer=2)


def test_the_run_folder_holds_what_the_dataset_is(tmp_path: Path) -> None:
    address = IN_ROWS["folder of parquet"](tmp_path, images(4))
    record(tmp_path / "run", address)
    written = json.loads((tmp_path / "run" / "images.json").read_text())
    assert written["dataset"] | {"fingerprint": None, "files": None} == {
        "address": str(address),
        "subset": None,
        "split": "train",
        "commit": None,
        "files": None,
        "fingerprint": None,
        "column": "image",
        "rows": 4,
    }
    assert {Path(name).name for name in written["dataset"]["files"]} == {
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    }
    assert len(written["dataset"]["fingerprint"]) == 16
    assert list(written["contents"]) == list(written["images"]) == [f"row {n}" for n in range(4)]


def test_another_split_is_another_run_and_another_revision_is_not(tmp_path: Path) -> None:
    settings = RunSettings(
        model="m", images=Path("owner/name"), run_folder=tmp_path / "run", data={"split": "a"}
    )
    settings.run_folder.mkdir()
    (settings.run_folder / "settings.json").write_text(settings.model_dump_json())

    def resumed(**data: Any) -> RunSettings:
        return settings.model_copy(update={"resume": True, "data": ImageDataSettings(**data)})

    refuse_other_run(resumed(split="a", revision="v2"))
    with pytest.raises(SettingsError, match="has other settings: data "):
        refuse_other_run(resumed(split="b"))


@pytest.fixture
def _keeps_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")  # `open_run_folder` sets it


@pytest.mark.usefixtures("_keeps_environment")
@pytest.mark.parametrize("streaming", [False, True])
def test_the_start_shows_what_the_images_are(
    streaming: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = parquet(tmp_path / "a.parquet", [encoded(0), b"torn", encoded(2)])
    settings = RunSettings(
        model="m", images=address, run_folder=tmp_path / "run", data={"streaming": streaming}
    )
    with ExitStack() as ending:
        open_run_folder(settings, open_images(address, settings.data), Ranks(), Console(), ending)
    assert (f"images: a stream from {address}" if streaming else f"images: 2 in {address}, 1 left out") in (
        capsys.readouterr().out
    )


SOURCES: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "rows": (lambda folder: parquet(folder / "a.parquet", images(5)), {}),
    "tar": (lambda folder: tar(folder / "a.tar", {f"{n}.png": c for n, c in enumerate(images(5))}), {}),
    "stream": (
        lambda folder: parquet(folder / "a.parquet", images(5)),
        {"streaming": True, "shuffle_buffer": 3},
    ),
}


@pytest.mark.parametrize(
    "source", ["rows", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tar", "stream"))]
)
def test_a_killed_run_on_a_dataset_ends_as_one_that_was_not(source: str, tmp_path: Path) -> None:
    build, data = SOURCES[source]
    address = build(tmp_path)

    def settings(name: str, **fields: Any) -> RunSettings:
        return offline_settings(
            tmp_path,
            images=address,
            data=data,
            run_folder=tmp_path / name,
            updates=4,
            proposer_every=1,
            groups_per_update=2,
            save_every=1,
            **fields,
        )

    def groups(name: str) -> list[tuple[int, str]]:
        return [(group["update"], group["image"]) for group in read_lines(tmp_path / name / "groups.jsonl")]

    offline_trainer(settings("whole"), OfflineRollouts(say)).go()

    def blow() -> None:
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        offline_trainer(settings("killed"), OfflineRollouts(say), [Strike(2, blow)]).go()
    resumed = offline_trainer(settings("killed", resume=True), OfflineRollouts(say))
    resumed.go()

    assert len(groups("whole")) == 8
    assert groups("killed") == groups("whole")
    assert all(image.startswith(f"{address}/row ") for _, image in groups("whole"))
    resumed.write_final()
    whole = offline_trainer(settings("whole", resume=True), OfflineRollouts(say))
    whole.go()
    whole.write_final()
    for role in ("solver", "proposer"):
        weights = [
            (tmp_path / name / "final" / role / "adapter_model.safetensors") for name in ("whole", "killed")
        ]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    epochs = [line["epoch"] for line in read_lines(tmp_path / "whole" / "metrics.jsonl")]
    assert epochs[-1] == pytest.approx(1.0 if data else 2.0)


def test_trl_gets_at_most_a_million_rows_of_a_huge_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFolder, "count", property(lambda _: 700_000_000))
    trainer = offline_trainer(offline_settings(tmp_path), OfflineRollouts(say))
    assert len(trainer.train_dataset) == 2**20
