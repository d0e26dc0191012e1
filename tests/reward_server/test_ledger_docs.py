"""The examples of the ledger's endpoints are true, of a ledger that holds the group of the examples."""

import json
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import httpx
import pytest

from ireasoner.reward_server.api.examples import EXAMPLES
from ireasoner.reward_server.api.ledger_examples import (
    COMPARISON,
    IMAGE,
    LEDGER_EXAMPLES,
    RECORD,
    ROBUST_SCORED,
)
from ireasoner.reward_server.ledger import comparison, images, schema
from ireasoner.reward_server.ledger.comparison_file import ComparisonFile, Plan
from ireasoner.reward_server.ledger.group_change import GroupChange
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.ledger_reading import keep, reader
from tests.reward_server.running import running
from tests.reward_server.test_docs import comparable, operation, request, send

READS = [name for name in LEDGER_EXAMPLES if name.startswith("GET") and name != "GET /ledger/events"]
EMBEDS = [name for name in LEDGER_EXAMPLES if name.startswith("POST")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of the examples."""
    folder = tmp_path_factory.mktemp("ledger")
    keep(folder, [RECORD])
    picture = Path("docs/images/group.png").read_bytes()
    images.store(folder, IMAGE, picture)
    connection = schema.open_to_write(folder)
    connection.execute("INSERT INTO images VALUES (?, ?, ?, 0)", (IMAGE, RECORD.experiment, len(picture)))
    connection.close()
    change = GroupChange.of(RECORD.groups[0]["scored"], ROBUST_SCORED, RECORD.endpoint)
    with ComparisonFile(folder, COMPARISON, Plan("robust", None, {})) as file:
        file.expect(1)
        file.add([(1, RECORD.experiment, change)])
    with sqlite3.connect(comparison.file_of(folder, COMPARISON)) as written:
        written.execute("UPDATE plan SET created_s = ?", (RECORD.received_s + 60,))
    return folder


@pytest.fixture(scope="module")
def embedding_http(folder: Path) -> Iterator[httpx.Client]:
    """A running server with the default embedder."""
    settings = RewardServerSettings(threads=1, cache_mib=0)
    with running(settings, ledger_folders=[folder]) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.mark.parametrize("name", READS)
def test_every_example_gets_the_response_that_the_docs_show(folder: Path, name: str) -> None:
    check(cast(httpx.Client, reader(folder)), name)


@pytest.mark.xdist_group("examples of the docs")
@pytest.mark.parametrize("name", EMBEDS)
def test_so_does_every_example_that_needs_the_embedder(embedding_http: httpx.Client, name: str) -> None:
    check(embedding_http, name)


def check(http: httpx.Client, name: str) -> None:
    """Compares all fields but those that vary; numbers to two digits."""
    answered = send(http, request(name))
    assert answered.status_code == 200, answered.text
    [(media_type, shown)] = operation(name)["responses"]["200"]["content"].items()
    assert answered.headers["content-type"].split(";")[0] == media_type
    if media_type == "application/json":
        assert compared(answered.json(), exactly=True) == compared(shown["example"])
    elif media_type == "application/jsonl":
        assert compared(json.loads(answered.text), exactly=True) == compared(json.loads(shown["example"]))
    else:
        assert media_type == "image/webp"


def compared(part: object, *, exactly: bool = False) -> object:
    """A response as `comparable` makes it, without the size of the files."""
    if isinstance(part, dict) and "ledger" in part:
        part = {**part, "ledger": {**part["ledger"], "bytes": None}}
    return comparable(part) if exactly else comparable(part, partial(pytest.approx, abs=0.01))


def test_the_page_has_every_example_of_the_ledger() -> None:
    assert LEDGER_EXAMPLES.keys() <= EXAMPLES.keys()
