"""What clients tell a real server's ledger of their groups arrives there."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ireasoner.clients import Group, RewardClient, Rollout
from ireasoner.clients.server_context import server_context
from ireasoner.reward_server.settings import RewardServerSettings
from tests.clients.lying_server import CLIENTS
from tests.reward_server.requests import rollout
from tests.reward_server.running import running

IMAGE = (Path(__file__).parents[2] / "docs" / "images" / "result.png").read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    server_context.cache_clear()
    yield tmp_path / "ledger"
    server_context.cache_clear()


def group(name: str, **context: Any) -> Group:
    return Group(name, [Rollout(str(index), rollout("7", "east")) for index in range(2)], **context)


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"{(folder / 'ledger.sqlite').as_uri()}?mode=ro", uri=True) as ledger:
        return ledger.execute(query).fetchall()


def test_context_and_images_arrive(folder: Path, compass: Path) -> None:
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass, ledger=folder)
    with running(settings) as url:
        for number, make in enumerate(CLIENTS.values()):
            with make(url) as call:
                image = call("put_image", IMAGE)
                assert call("put_image", b"\x89PNG, but torn") != image, "it is refused, which is no error"
                told = group("g", question=f"How many? {number}", image=image, labels=["7"])
                call("score", "solver", [told], update=number, source="run-1")
                call("score", "solver", [group("g")])
    assert rows(folder, "SELECT source FROM runs ORDER BY source") == [("-",), ("run-1",)]
    assert rows(folder, "SELECT question, image FROM questions WHERE image NOT NULL ORDER BY question") == [
        ("How many? 0", image),
        ("How many? 1", image),
    ]
    assert rows(folder, "SELECT at, correct FROM groups WHERE at NOT NULL ORDER BY at") == [(0, 1), (1, 1)]
    assert [file.read_bytes() for file in (folder / "images").rglob("*") if file.is_file()] == [IMAGE]


def test_a_server_without_a_ledger_gets_no_more_images(
    compass: Path,
) -> None:
    server_context.cache_clear()
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    with running(settings) as url, RewardClient(url) as client:
        assert client.takes_images
        client.put_image(IMAGE)
        assert not client.takes_images
