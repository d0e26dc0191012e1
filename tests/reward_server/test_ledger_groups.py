"""Pages of groups: every filter and order against all groups, filtered and sorted here; cursors; several ledgers."""

import base64
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from starlette.testclient import TestClient

from ireasoner.reward_server.ledger import cursor, group_list, schema
from ireasoner.reward_server.ledger.eviction import evict_oldest
from ireasoner.reward_server.ledger.group_query import GroupQuery
from ireasoner.reward_server.ledger.ledger_wire import Flag, Sort
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer
from ireasoner.reward_server.ledger.record import Record
from ireasoner.reward_server.ledger.search import SearchText
from tests.reward_server.ledger_reading import keep, reader
from tests.reward_server.ledger_records import record, scored, sent

Json = dict[str, Any]

SORTS: Sequence[str] = get_args(Sort)
FLAGS: dict[str, Callable[[Json], bool]] = {
    "tie": lambda group: group["tie"] is True,
    "flat": lambda group: group["spread"] == 0,
    "flipped": lambda group: group["flipped"] is True,
    "abstained": lambda group: group["abstained"] > 0,
    "invalid": lambda group: group["invalid"] > 0,
    "right": lambda group: group["correct"] is True,
    "wrong": lambda group: group["correct"] is False,
}
OPERATOR = Viewer(None)
START_S = 1_800_000_000.0
IMAGES = ["a" * 64, "b" * 64]


def varied(seed: int, source: str, updates: int = 6) -> Iterator[Record]:
    """Records with every kind of group; few distinct values, so that orders have ties."""
    chance = random.Random(seed)
    for number in range(updates):
        groups = []
        for index in range(chance.randint(1, 5)):
            group = sent(
                [chance.choice(["7", "8", "9", None]) for _ in range(chance.choice([1, 4]))],
                name=f"{source}-{number}-{index}",
                question=chance.choice([None, "How many apples?", "图中有几个苹果？"]),
                image=chance.choice([None, *IMAGES]),
                labels=chance.choice([None, ["7"]]),
            )
            found = scored(group)
            found["tie"] = chance.random() < 0.3
            if chance.random() < 0.2:
                found["rollouts"][0] |= {"status": "abstain", "reward": None, "outcome": None}
            groups.append({"group": group, "scored": found})
        yield record(
            sequence=number + 1,
            feed=source,
            source=source,
            experiment="x" if source < "s" else "-",
            update=None if chance.random() < 0.2 else number // 2,
            received_s=START_S + 30 * (number // 2),
            endpoint=chance.choice(["solver", "outcome"]),
            groups=groups,
        )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("ledgers")
    for name, sources in (("one", ["a", "s", "t"]), ("two", ["b", "s"])):
        records = [varied(seed, source) for seed, source in enumerate(sources)]
        keep(folder / name, [each for several in itertools.zip_longest(*records) for each in several if each])
    return [folder / "one", folder / "two"]


@pytest.fixture(scope="module")
def ledgers(folders: list[Path]) -> Ledgers:
    return Ledgers(folders)


@pytest.fixture(scope="module")
def http(folders: list[Path]) -> TestClient:
    return reader(*folders)


@pytest.fixture(scope="module")
def everything(ledgers: Ledgers) -> list[Json]:
    found = pages(ledgers, limit=200)
    assert len(found) > 60
    return found


def pages(ledgers: Ledgers, limit: int = 50, **query: Any) -> list[Json]:
    """All groups of a query, page by page."""
    asked = GroupQuery(**query)
    groups: list[Json] = []
    cursor = None
    for _ in range(1_000):
        page = group_list.page(ledgers, OPERATOR, asked, limit, cursor)
        groups += [group.model_dump() for group in page.groups]
        cursor = page.next
        if cursor is None:
            return groups
    raise AssertionError("there is always a next page")


def key(sort: str) -> Callable[[Json], tuple[float, int, int]]:
    def of(group: Json) -> tuple[float, int, int]:
        ledger, row = map(int, group["id"].split("-"))
        return group[sort], ledger, row

    return of


@pytest.mark.parametrize("order", ["desc", "asc"])
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("limit", [7, 200])
def test_every_order(ledgers: Ledgers, everything: list[Json], sort: str, order: str, limit: int) -> None:
    known = [group for group in everything if group[sort] is not None]
    expected = sorted(known, key=key(sort), reverse=order == "desc")
    assert pages(ledgers, sort=sort, order=order, limit=limit) == expected


FILTERS: list[tuple[Json, Callable[[Json], bool]]] = [
    *(({"flags": (name,)}, holds) for name, holds in FLAGS.items()),
    ({"flags": ("invalid", "wrong")}, lambda group: group["invalid"] > 0 and group["correct"] is False),
    ({"flags": ("right", "wrong")}, lambda group: False),
    ({"endpoint": "outcome"}, lambda group: group["endpoint"] == "outcome"),
    ({"endpoint": "proposer"}, lambda group: False),
    ({"update_from": 1}, lambda group: group["update"] is not None and group["update"] >= 1),
    ({"update_until": 0}, lambda group: group["update"] == 0),
    ({"update_from": 1, "update_until": 1}, lambda group: group["update"] == 1),
    ({"update_from": 2, "update_until": 1}, lambda group: False),
    ({"received_from_s": START_S + 30}, lambda group: group["received_s"] >= START_S + 30),
    ({"received_until_s": START_S + 30}, lambda group: group["received_s"] < START_S + 30),
    (
        {"received_from_s": START_S + 30, "received_until_s": START_S + 60},
        lambda group: group["received_s"] == START_S + 30,
    ),
    ({"received_from_s": START_S + 30, "received_until_s": START_S + 30}, lambda group: False),
    ({"received_from_s": START_S + 1, "received_until_s": START_S + 29}, lambda group: False),
    ({"min_dominant_share": 0.5}, lambda group: group["dominant_share"] >= 0.5),
    ({"max_dominant_share": 0.5}, lambda group: group["dominant_share"] <= 0.5),
    (
        {"min_dominant_share": 0.25, "max_dominant_share": 0.5},
        lambda group: 0.25 <= group["dominant_share"] <= 0.5,
    ),
    ({"image": IMAGES[0]}, lambda group: group["image"] == IMAGES[0]),
    ({"image": "c" * 64}, lambda group: False),
    ({"text": "APPLES"}, lambda group: "apples" in (group["question"] or "")),
    ({"text": "几个苹果"}, lambda group: "苹果" in (group["question"] or "")),
    ({"text": "苹果"}, lambda group: "苹果" in (group["question"] or "")),
    (
        {"flags": ("invalid",), "endpoint": "solver", "image": IMAGES[1], "text": "apples", "update_from": 0},
        lambda group: (
            group["invalid"] > 0
            and group["endpoint"] == "solver"
            and group["image"] == IMAGES[1]
            and "apples" in (group["question"] or "")
            and group["update"] is not None
        ),
    ),
]


@pytest.mark.parametrize("few", [0, group_list.FEW], ids=["walked", "sorted"])
@pytest.mark.parametrize("sort", ["received_s", "reward", "dominant_share"])
@pytest.mark.parametrize(("query", "holds"), FILTERS, ids=[str(query) for query, _ in FILTERS])
def test_every_filter(
    ledgers: Ledgers,
    everything: list[Json],
    query: Json,
    holds: Callable[[Json], bool],
    sort: str,
    few: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether the groups come from the filter's index or from that of the order."""
    monkeypatch.setattr(group_list, "FEW", few)
    monkeypatch.setattr(group_list, "LEAST_FEW", min(few, group_list.LEAST_FEW))
    expected = [group for group in everything if holds(group) and group[sort] is not None]
    texts = {name: SearchText(value) if name == "text" else value for name, value in query.items()}
    found = pages(ledgers, sort=sort, limit=7, **texts)
    assert found == sorted(expected, key=key(sort), reverse=True)


def test_one_run(ledgers: Ledgers, everything: list[Json]) -> None:
    for run in {group["run"] for group in everything}:
        assert pages(ledgers, run=RecordId.parse(run)) == [
            group for group in everything if group["run"] == run
        ]


def test_one_question(ledgers: Ledgers, everything: list[Json]) -> None:
    questions = {group["question_id"] for group in everything} - {None}
    assert len(questions) > 20
    for question in questions:
        expected = [group for group in everything if group["question_id"] == question]
        asked, run = RecordId.parse(question), RecordId.parse(expected[0]["run"])
        assert pages(ledgers, question=asked) == expected
        assert pages(ledgers, question=asked, run=run) == expected


def test_a_question_of_another_run_is_not_found(http: TestClient, everything: list[Json]) -> None:
    question = next(
        group["question_id"] for group in everything if group["run"] == "0-1" and group["question_id"]
    )
    for run in ("0-2", "1-1"):
        assert http.get("/ledger/groups", params={"question": question, "run": run}).status_code == 404


@pytest.mark.parametrize("examined", [1, 3, 50])
def test_pages_that_end_early_go_on(
    ledgers: Ledgers, everything: list[Json], examined: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_list, "EXAMINED", examined)
    monkeypatch.setattr(group_list, "FEW", 0)
    monkeypatch.setattr(group_list, "LEAST_FEW", 0)
    first = group_list.page(ledgers, OPERATOR, GroupQuery(flags=("wrong",)), 50, None)
    assert first.is_complete is False
    assert first.next is not None
    assert pages(ledgers, flags=("wrong", "invalid"), limit=50) == [
        group for group in everything if group["correct"] is False and group["invalid"]
    ]


def test_paging_is_stable_while_groups_arrive_and_are_evicted(tmp_path: Path) -> None:
    keep(tmp_path, varied(1, "s", updates=30))
    http = reader(tmp_path)
    before = pages(Ledgers([tmp_path]), limit=200)
    seen: list[Json] = []
    query: Json = {"limit": 5}
    for number in itertools.count(100):
        answer = http.get("/ledger/groups", params=query).json()
        seen += answer["groups"]
        if answer["next"] is None:
            break
        query["cursor"] = answer["next"]
        newer = record(sent(["7"]), feed="later", sequence=number, source="s", received_s=1_900_000_000.0)
        keep(tmp_path, [newer])
        if number == 102:
            connection = schema.open_to_write(tmp_path)
            evict_oldest(connection, tmp_path)
            connection.close()
    ids = [group["id"] for group in seen]
    assert len(set(ids)) == len(ids)
    assert ids == [group["id"] for group in before][: len(ids)]
    assert 0 < len(before) - len(ids) < 20, "those that were evicted"


def cursor_of(http: TestClient, **query: Any) -> str:
    found: str = http.get("/ledger/groups", params={"limit": 2, **query}).json()["next"]
    return found


def test_a_cursor_goes_on_with_its_own_query_alone(http: TestClient) -> None:
    cursor = cursor_of(http)
    others: list[Json] = [
        {"sort": "reward"},
        {"order": "asc"},
        {"run": "0-1"},
        {"flag": "tie"},
        {"q": "apples"},
        {"endpoint": "solver"},
        {"update_from": 0},
        {"min_dominant_share": 0.1},
        {"image": IMAGES[0]},
    ]
    assert http.get("/ledger/groups", params={"cursor": cursor, "limit": 9}).status_code == 200
    for other in others:
        answer = http.get("/ledger/groups", params={"cursor": cursor, **other})
        assert (answer.status_code, answer.json()["code"]) == (422, "malformed_request")
        assert answer.json()["errors"][0]["place"] == "cursor"


def test_a_forged_cursor_is_refused(http: TestClient) -> None:
    cursor = cursor_of(http)
    forged = ["x", "A" * 40, "=", "é", "a b", "\0", cursor[:-1], cursor + "A", cursor[1:], "?" * 256, "%00"]
    forged += [
        cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor))
    ]
    for each in forged:
        answer = http.get("/ledger/groups", params={"cursor": each})
        assert answer.status_code == 422, each


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ("[1800000000.0,0,1]", 200),
        ("[1,0,1]", 200),
        ("null", 422),
        ("", 422),
        ("{}", 422),
        ("[]", 422),
        ("[1.0,0]", 422),
        ("[1.0,0,1,2]", 422),
        ('["1",0,1]', 422),
        ("[null,0,1]", 422),
        ("[1e999,0,1]", 422),
        ("[NaN,0,1]", 422),
        ("[1.0,-1,1]", 422),
        ("[1.0,0,-1]", 422),
        ("[1.0,0,1.5]", 422),
        ("[1.0,0,18446744073709551615]", 422),
        ("[1.0,9223372036854775808,1]", 422),
        ("[" * 100, 422),
    ],
)
def test_a_cursor_that_is_made_up_with_a_right_check_is_refused(
    http: TestClient, payload: str, status: int
) -> None:
    """Its check needs no secret."""
    check = cursor._check(payload.encode(), f"{OPERATOR} {GroupQuery()}")
    made_up = base64.urlsafe_b64encode(check + payload.encode()).decode()
    answer = http.get("/ledger/groups", params={"cursor": made_up})
    assert answer.status_code == status
    assert status == 200 or answer.json()["errors"][0]["place"] == "cursor"


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "name"},
        {"order": "up"},
        {"flag": "odd"},
        {"flag": ["tie"] * 8},
        {"endpoint": "score"},
        {"limit": 0},
        {"limit": 201},
        {"limit": "x"},
        {"update_from": -1},
        {"received_from_s": -1},
        {"received_until_s": "nan"},
        {"update_until": 2**53},
        {"min_dominant_share": 1.5},
        {"min_dominant_share": "nan"},
        {"image": "A" * 64},
        {"image": "ab"},
        {"q": "x" * 257},
        {"run": "0-" + "1" * 30},
    ],
    ids=str,
)
def test_a_wrong_query_is_refused(http: TestClient, query: Json) -> None:
    answer = http.get("/ledger/groups", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed_request")


@pytest.mark.parametrize(
    "text", ["x", "0", "0-", "-1", "0-0", "00-1", "0-01", "9-1", "0-999999", "0-1 ", "٠-١", "0-1-1"]
)
def test_an_id_of_nothing_is_not_found(http: TestClient, text: str) -> None:
    for query in ({"run": text}, {"question": text}):
        answer = http.get("/ledger/groups", params=query)
        assert (answer.status_code, answer.json()["code"]) == (404, "no_such_record"), query
    for path in ("groups/{}", "groups/{}/neighbours", "runs/{}/timeline"):
        assert http.get(f"/ledger/{path.format(text)}").status_code == 404


def test_every_flag_is_tested() -> None:
    assert FLAGS.keys() == set(get_args(Flag))
