"""Search: a query is literal text, found anywhere in a question, an answer or a step, whatever it contains."""

from pathlib import Path

import pytest

from ireasoner.reward_server.ledger import group_list, schema, search
from ireasoner.reward_server.ledger.eviction import evict_oldest
from ireasoner.reward_server.ledger.group_query import GroupQuery
from ireasoner.reward_server.ledger.ledger_wire import Groups
from ireasoner.reward_server.ledger.ledgers import Ledgers, RecordId, Viewer
from ireasoner.reward_server.ledger.search import SearchText
from tests.reward_server.ledger_reading import keep
from tests.reward_server.ledger_records import record, sent

TEXTS = {
    "quotes": "She said \"seven\" and it's 'done'; \"unclosed",
    "operators": "apples AND pears OR NOT plums NEAR(x, 2)",
    "columns": "question:red run : <1> {steps} : blue -answers",
    "wildcards": "ab*cd ^start 100% a_b \\% [x-y] ?",
    "sql": "'; DROP TABLE groups; --",
    "brackets": "f(x) = {a} [b] <c> </script>",
    "latex": "\\frac{1}{2} + \\sqrt{x_1^2}",
    "chinese": "图中有七个苹果和三个梨",
    "japanese": "りんごは何個ありますか",
    "korean": "사과가 몇 개 있습니까",
    "arabic": "كم عدد التفاح في الصورة",
    "hebrew": "כמה תפוחים יש",
    "accents": "Ça coûte déjà cher à l'Élysée",
    "greek": "Σίσυφος και ΑΘΗΝΑ",
    "emoji": "three 🍎🍎🍎 and one 👩‍👩‍👧",
    "zero width": "zero\u200bwidth and \u202ereversed\u202c",
    "control": "tab\there, bell\x07, escape \x1b[31mred",
    "numbers": "3.14159 x 10^-7 = 1,234,567.89",
    "newlines": "first line\nsecond line\r\nthird",
    "spaces": "two  spaces and   three",
    "short": "ok",
    "long": "y" * 5_000 + "needle" + "z" * 5_000,
    "plain": "a plain sentence about nothing",
}


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> Ledgers:
    """Each text as a question, as an answer and as a step, in groups of two runs."""
    folder = tmp_path_factory.mktemp("ledger")
    for sequence, source in enumerate(("one", "two"), 1):
        groups = []
        for name, text in TEXTS.items():
            as_answer, as_step = sent([text], name=f"{name}/answer"), sent(["7"], name=f"{name}/step")
            as_answer["rollouts"][0]["steps"] = ["~"]
            as_step["rollouts"][0]["steps"] = ["~", text]
            as_question = sent(["7"], name=f"{name}/question", question=text)
            as_question["rollouts"][0]["steps"] = ["~"]
            groups += [as_question, as_answer, as_step]
        keep(folder, [record(*groups, source=source, sequence=sequence)])
    return Ledgers([folder])


def found(ledgers: Ledgers, text: str, limit: int = 200, **query: object) -> Groups:
    return group_list.page(ledgers, Viewer(None), GroupQuery(text=SearchText(text), **query), limit, None)  # type: ignore[arg-type]


QUERIES = [
    *('"seven"', '"', '""', "it's", "'done'", '"unclosed', "'seven'", 'said "sev'),
    *("AND", "apples AND pears", "OR NOT", "NEAR(x, 2)", "apples pears", "and pears", "pears OR plums"),
    *("question:red", "run : <1>", "<1>", "<2>", "{steps}", "-answers", "steps : blue", "question:blue"),
    *(
        "ab*",
        "ab*cd",
        "a*d",
        "^start",
        "start",
        "100%",
        "%",
        "a_b",
        "a_",
        "_",
        "axb",
        "\\%",
        "[x-y]",
        "?",
        "*",
    ),
    *("'; DROP", "DROP TABLE", "--", ";"),
    *("f(x)", "{a}", "[b]", "</script>", "<c>", ")", "f (x)"),
    *("\\frac{1}{2}", "\\sqrt", "x_1^2", "\\\\frac"),
    *("苹果", "七个苹果", "苹", "梨", "三个梨", "图中有七个苹果和三个梨", "香蕉", "三个苹果", "果苹"),
    *("りんご", "何個", "あります", "사과", "있습니까", "التفاح", "تفاح", "תפוחים", "יש"),
    *("coûte", "COÛTE", "coute", "élysée", "Élysée", "ça", "à", "déjà cher"),
    *("αθηνα", "ΑΘΗΝΑ", "Σίσυ", "και"),
    *("🍎🍎🍎", "🍎", "🍎🍎🍎🍎", "👩‍👩‍👧", "🍌"),
    *("zero\u200bwidth", "zerowidth", "\u202ereversed", "reversed"),
    *("tab\there", "bell\x07", "\x1b[31m", "[31mred", "red\x00"),
    *("3.14159", "3.14", "10^-7", "1,234,567.89", "1234567", ".", "-7"),
    *("first line\nsecond", "line\r\nthird", "line second"),
    *("two  spaces", "two spaces", "  two", "three  ", " plain ", "and   thr"),
    *("ok", "OK", "k", "needle", "yneedlez", "y" * 256, "z" * 200, "yy"),
    *("sentence", "SENTENCE", "ntenc", "sentences", "nothing", "a plain sentence about nothing", "xyzzy"),
]


def is_in(text: str, query: str) -> bool:
    return query.replace("\0", " ").strip().lower() in text.lower()


@pytest.mark.parametrize("query", QUERIES, ids=ascii)
def test_a_query_finds_the_texts_that_contain_it(ledgers: Ledgers, query: str) -> None:
    expected = {
        f"{name}/{part}"
        for name, text in TEXTS.items()
        for part in ("question", "answer", "step")
        if is_in(text, query)
    }
    answer = found(ledgers, query)
    names = [group.name for group in answer.groups]
    assert sorted(names) == sorted([*expected, *expected]), "of both runs"
    assert answer.is_complete


def test_the_queries_find_something_and_miss_something() -> None:
    hits = [any(is_in(text, query) for text in TEXTS.values()) for query in QUERIES]
    assert 25 < sum(hits) < len(hits) - 15


@pytest.mark.parametrize("query", ["", " ", "\n", "\0", "\t \u3000"], ids=ascii)
def test_a_query_of_white_space_leaves_nothing_out(ledgers: Ledgers, query: str) -> None:
    assert len(found(ledgers, query).groups) == 6 * len(TEXTS)


@pytest.mark.parametrize("query", ["苹果", "七个苹果", "sentence", "ok"])
def test_a_run_is_searched_alone(ledgers: Ledgers, query: str) -> None:
    for run in (1, 2):
        groups = found(ledgers, query, run=RecordId(0, run)).groups
        assert len(groups) == 3
        assert {group.run for group in groups} == {f"0-{run}"}


@pytest.mark.parametrize("query", ["sentence", "苹"])
def test_results_are_sorted_by_any_figure(ledgers: Ledgers, query: str) -> None:
    words = [group.words for group in found(ledgers, query, sort="words", order="asc").groups]
    assert len(words) == 6
    assert words == sorted(words)


@pytest.mark.parametrize(
    ("query", "sort", "is_complete"),
    [
        ("sentence", "words", False),
        ("sentence", "reward", False),
        ("xyzzy", "words", False),
        ("sentence", "received_s", True),
        ("ok", "words", True),
        ("", "words", True),
    ],
)
def test_the_last_page_says_whether_older_groups_were_searched(
    ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch, query: str, sort: str, is_complete: bool
) -> None:
    monkeypatch.setattr(search, "WINDOW", 8)
    answer = found(ledgers, query, sort=sort)
    assert (answer.next, answer.is_complete) == (None, is_complete)


def test_a_short_query_reads_a_bounded_number_of_documents_per_page(
    ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = 0
    look = SearchText.is_in

    def counted(text: SearchText, document: bytes) -> bool:
        nonlocal read
        read += 1
        return look(text, document)

    monkeypatch.setattr(group_list, "EXAMINED", 400)
    monkeypatch.setattr(SearchText, "is_in", counted)
    answer = found(ledgers, "苹")
    assert answer.is_complete is False
    assert answer.next is not None
    assert 0 < read < 10


def test_what_was_evicted_is_not_found(tmp_path: Path) -> None:
    keep(tmp_path, [record(sent(["7"], question="old text"), update=0, sequence=1)])
    keep(tmp_path, [record(sent(["7"], question="new text"), update=1, sequence=2)])
    connection = schema.open_to_write(tmp_path)
    evict_oldest(connection, tmp_path)
    connection.close()
    for query, count in (("old text", 0), ("new text", 1), ("text", 1), ("ol", 0), ("ew", 1)):
        assert len(found(Ledgers([tmp_path]), query).groups) == count
