"""A dataset of the hub: read from the copy of an earlier run without a network, and named if there is none."""

from pathlib import Path
from typing import Any

import datasets
import pytest

from ireasoner.trainer.data import dataset as opening
from ireasoner.trainer.errors import ImagesError
from ireasoner.trainer.images import open_images
from ireasoner.trainer.settings import ImageDataSettings
from tests.trainer.datasets_of_images import images, parquet


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of copies, on a machine without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    folder = tmp_path / "cache"
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", folder)
    return folder


def keep(cache: Path, source: Path, owner: str, name: str) -> None:
    """Lays a copy of a dataset out as `datasets` does after a download."""
    datasets.load_dataset("parquet", data_files=str(source), cache_dir=str(cache))
    [made] = [path.parent for path in (cache / "parquet").rglob("dataset_info.json")]
    copy = cache / f"{owner}___{name}" / "default" / "0.0.0" / made.name
    copy.parent.mkdir(parents=True)
    made.rename(copy)
    for file in copy.glob("parquet-*.arrow"):
        file.rename(copy / file.name.replace("parquet-", f"{name}-"))


@pytest.mark.parametrize("data", [{}, {"streaming": True}, {"split": "test"}, {"revision": "v2"}])
def test_a_dataset_that_cannot_be_reached_is_named_in_one_line(
    data: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(
        ImagesError,
        match=r"^images: nobody/nothing cannot be read: .*It is no folder or file here; as a dataset of the hub it "
        r"needs a network, or a copy that `datasets` keeps from an earlier run$",
    ) as raised:
        open_images(Path("nobody/nothing"), ImageDataSettings(**data))
    assert "\n" not in str(raised.value)
    assert not caplog.records


def test_a_copy_of_an_earlier_run_is_read(cache: Path, tmp_path: Path) -> None:
    keep(cache, parquet(tmp_path / "a.parquet", images(3)), "owner", "name")
    found = open_images(Path("owner/name"), ImageDataSettings())
    assert [file.width for file in found.files] == [40, 41, 42]
    assert found.paths[1] == Path("owner/name/row 1")
    assert found.identity is not None
    assert (found.identity.address, found.identity.split) == ("owner/name", "train")


@pytest.mark.parametrize(
    "address", ["nobody", "a/b/c", "./nobody/nothing", "nobody/nothing.parquet/x", "~/x", "/a/b"]
)
def test_what_is_no_hub_id_is_not_looked_for_there(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "open_rows", None)
    with pytest.raises(ImagesError, match="images: there is no folder or file "):
        open_images(
            Path("/nowhere") / address if address.startswith(".") else Path(address), ImageDataSettings()
        )


@pytest.mark.parametrize(
    ("addresses", "commit"),
    [
        (["hf://datasets/owner/name@" + "a1" * 20], "a1" * 20),
        (["hf://datasets/owner/name@" + "a1" * 20 + "/data/train.parquet"], "a1" * 20),
        (["/data/name@" + "a1" * 20], None),
        (["hf://datasets/owner/name@main/x"], None),
        ([], None),
    ],
)
def test_the_commit_is_that_of_the_files(addresses: list[str], commit: str | None) -> None:
    assert opening._commit(addresses) == commit
