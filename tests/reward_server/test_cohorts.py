"""Callers that post one rollout each: who is scored with whom, when, and what happens to those that leave."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ireasoner.reward_server.api.limits import Limits
from ireasoner.reward_server.api.tokens import add_token
from ireasoner.reward_server.cohorts.cohort_memory import CohortLimits
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.requests import Json, group, rollout
from tests.reward_server.running import running

PATIENCE_S = 30
TEXTS = [
    rollout("7", "east", "north"),
    rollout("7", "northeast", "north"),
    rollout("7", "east", "east north north"),
    rollout("8", "west"),
    rollout(None, "south"),
]
UNCLEAR = rollout("7", "nowhere")
"""The server abstains from it: its step has no embedding."""
SHORT_S = 4.0
Http = httpx.AsyncClient
Post = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def url(compass: Path) -> Iterator[str]:
    """A server of the test's own, so that its counts are the test's."""
    with running(RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)) as address:
        yield address


def talk(url: str, conversation: Callable[[Http], Coroutine[Any, Any, None]]) -> None:
    """Runs a conversation with the server, which must end."""

    async def run() -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, limits=limits) as http:
            await asyncio.wait_for(conversation(http), PATIENCE_S)

    asyncio.run(run())


def remote(
    http: Http, response: str, prompt: str = "p", *, size: int = 5, deadline_s: float = 20.0, **fields: Any
) -> Coroutine[Any, Any, httpx.Response]:
    """One call of slime's protocol."""
    body = {"prompt": prompt, "response": response, "label": None, **fields}
    parameters: dict[str, Any] = {"group_size": size, "deadline_s": deadline_s}
    return http.post("/cohort/remote", params=parameters, json=body)


async def answers(*calls: Awaitable[httpx.Response]) -> list[Json]:
    responses = await asyncio.gather(*calls)
    assert [response.status_code for response in responses] == [200] * len(calls), responses[0].text
    return [response.json() for response in responses]


async def solver(http: Http, texts: list[str], **fields: Any) -> list[float]:
    """The rewards of the same group from `/score/solver`."""
    response = await http.post("/score/solver", json={"groups": [group(texts)], **fields})
    return [each["reward"] for each in response.json()["groups"][0]["rollouts"]]


async def metric(http: Http, name: str) -> float:
    """One number of `/metrics`."""
    shown = (await http.get("/metrics")).text
    return next(float(line.split()[-1]) for line in shown.splitlines() if line.startswith(f"{name} "))


async def waiting(http: Http, callers: int) -> None:
    """Returns when `callers` calls wait in the server."""
    while await metric(http, "reward_cohort_callers") != callers:
        await asyncio.sleep(0.01)


CONFIGS = [
    ({}, {}),
    ({"config": "robust"}, {"config": "robust"}),
    ({"progress": 0.5}, {"progress": 0.5}),
    (
        {"config": '{"alpha": 2.0, "lambda_schedule": "constant"}'},
        {"config": {"alpha": 2.0, "lambda_schedule": "constant"}},
    ),
]


@pytest.mark.parametrize(("parameters", "fields"), CONFIGS)
def test_each_protocol_gives_the_rewards_of_score_solver(url: str, parameters: Json, fields: Json) -> None:
    """To the last digit, in any order of arrival."""

    async def conversation(http: Http) -> None:
        expected = await solver(http, TEXTS, **fields)
        assert len(set(expected)) > 3
        sent = {"group_size": 5, **parameters}
        order = [3, 0, 4, 2, 1]

        def openrlhf(text: str) -> Awaitable[httpx.Response]:
            body = {"query": ["question" + text + "<|im_end|>"], "prompts": ["question"], "labels": ["4"]}
            return http.post("/cohort/openrlhf", params=sent, json=body)

        def slime(text: str) -> Awaitable[httpx.Response]:
            return http.post(
                "/cohort/remote", params=sent, json={"prompt": "q", "response": text, "label": "4"}
            )

        def nemo(text: str) -> Awaitable[httpx.Response]:
            content = [{"type": "output_text", "text": part} for part in (text[:9], text[9:])]
            body = {
                "responses_create_params": {"input": [{"role": "user", "content": "q"}]},
                "response": {
                    "id": "r",
                    "output": [{"type": "reasoning"}, {"type": "message", "content": content}],
                },
                "difficulty": "hard",
            }
            return http.post("/verify", params=sent, json=body)

        for call in (openrlhf, slime, nemo):
            scored = await answers(*(call(TEXTS[index]) for index in order))
            if call is openrlhf:
                assert all(each["scores"] == each["rewards"] for each in scored)
                rewards = [each["rewards"][0] for each in scored]
            else:
                rewards = [each["reward"] for each in scored]
            assert rewards == [expected[index] for index in order]
            if call is nemo:
                assert all(each["difficulty"] == "hard" and each["response"]["id"] == "r" for each in scored)

    talk(url, conversation)


def post_remote(http: Http, prompt: str, text: str, parameters: Json) -> Awaitable[httpx.Response]:
    return http.post("/cohort/remote", params=parameters, json={"prompt": prompt, "response": text})


def post_openrlhf(http: Http, prompt: str, text: str, parameters: Json) -> Awaitable[httpx.Response]:
    body = {"query": [prompt + text], "prompts": [prompt], "labels": ["1"]}
    return http.post("/cohort/openrlhf", params=parameters, json=body)


def post_verify(http: Http, prompt: str, text: str, parameters: Json) -> Awaitable[httpx.Response]:
    output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
    body = {"responses_create_params": {"input": prompt}, "response": {"output": output}}
    return http.post("/verify", params=parameters, json=body)


PARTS = {
    "outcome",
    "trajectory",
    "dominant_share",
    "tie",
    "valid",
    "abstained",
    "steps_judged",
    "partial",
    "group_size",
}
PROTOCOLS: list[tuple[Any, set[str], Callable[[Json], Json]]] = [
    (post_remote, {"reward"} | PARTS, lambda answer: answer),
    (post_openrlhf, PARTS, lambda answer: {name: one for name, [one] in answer["extra_logs"].items()}),
    (
        post_verify,
        {"reward"} | {f"reward_{name}" for name in PARTS},
        lambda answer: {name: value for name, value in answer.items() if not name.startswith("response")},
    ),
]


@pytest.mark.parametrize(("post", "names", "numbers"), PROTOCOLS)
def test_every_answer_has_the_same_keys_and_only_floats(
    url: str, post: Any, names: set[str], numbers: Callable[[Json], Json]
) -> None:
    """Complete and partial cohorts, groups of one, rollouts without an answer, and abstentions."""

    async def conversation(http: Http) -> None:
        groups = {
            "complete": (5, TEXTS),
            "abstained": (5, [UNCLEAR, *TEXTS[:3], "no tags at all"]),
            "alone": (1, ["no tags at all"]),
            "partial": (5, TEXTS[:2]),
            "partial, abstained": (5, [UNCLEAR, TEXTS[0]]),
        }
        calls = [
            (name, post(http, name, text, {"group_size": size, "deadline_s": SHORT_S}))
            for name, (size, texts) in groups.items()
            for text in texts
        ]
        got = [numbers(each) for each in await answers(*(call for _, call in calls))]
        assert {frozenset(each) for each in got} == {frozenset(names)}
        assert {type(value) for each in got for value in each.values()} == {float}
        flags: dict[str, list[tuple[float, float]]] = {name: [] for name in groups}
        for (name, _), each in zip(calls, got, strict=True):
            partial, abstained = (
                next(value for key, value in each.items() if key.endswith(flag))
                for flag in ("partial", "abstained")
            )
            flags[name].append((partial, abstained))
        assert flags == {
            "complete": [(0.0, 0.0)] * 5,
            "abstained": [(0.0, 1.0)] + [(0.0, 0.0)] * 4,
            "alone": [(0.0, 0.0)],
            "partial": [(1.0, 0.0)] * 2,
            "partial, abstained": [(1.0, 1.0), (1.0, 0.0)],
        }

    talk(url, conversation)


def test_a_group_of_one_is_answered_at_once(url: str) -> None:
    async def conversation(http: Http) -> None:
        assert (await answers(remote(http, TEXTS[0], size=1)))[0]["reward"] == (
            await solver(http, TEXTS[:1])
        )[0]
        number = await http.post(
            "/cohort/remote?group_size=1&answer=number", json={"prompt": "p", "response": TEXTS[0]}
        )
        assert number.json() == (await solver(http, TEXTS[:1]))[0]

    talk(url, conversation)


def test_equal_responses_are_separate_members(url: str) -> None:
    async def conversation(http: Http) -> None:
        texts = [TEXTS[0]] * 4 + [TEXTS[3]]
        scored = await answers(*(remote(http, text) for text in texts))
        assert [each["reward"] for each in scored] == await solver(http, texts)
        assert [each["group_size"] for each in scored] == [5.0] * 5

    talk(url, conversation)


def test_a_prompt_that_is_in_flight_twice_makes_two_groups(url: str) -> None:
    """First in, first out: the first five calls are one group, the next five the other."""

    async def conversation(http: Http) -> None:
        first, second = TEXTS, [rollout("9", "south")] * 4 + [rollout("3", "west")]
        calls = []
        for number, text in enumerate([*first, *second], start=1):
            calls.append(asyncio.create_task(remote(http, text)))
            await waiting(http, number % 5)
        scored = await answers(*calls)
        assert [each["reward"] for each in scored] == await solver(http, first) + await solver(http, second)

    talk(url, conversation)


def test_an_id_or_a_run_separates_groups(url: str) -> None:
    async def conversation(http: Http) -> None:
        groups = {"a": TEXTS, "b": [rollout("9", "south")] * 3 + [rollout("3", "west"), ""]}
        mixed = [(name, texts[index]) for index in range(5) for name, texts in groups.items()]
        expected = {name: await solver(http, texts) for name, texts in groups.items()}

        scored = await answers(*(remote(http, text, group_id=name) for name, text in mixed))
        for name in groups:
            mine = [each["reward"] for each, (of, _) in zip(scored, mixed, strict=True) if of == name]
            assert mine == expected[name]

        def of_run(name: str, text: str) -> Awaitable[httpx.Response]:
            return http.post(
                f"/cohort/remote?group_size=5&run={name}", json={"prompt": "p", "response": text}
            )

        scored = await answers(*(of_run(name, text) for name, text in mixed))
        for name in groups:
            mine = [each["reward"] for each, (of, _) in zip(scored, mixed, strict=True) if of == name]
            assert mine == expected[name]

    talk(url, conversation)


def test_nemo_gym_rollouts_are_grouped_by_task(url: str) -> None:
    """Inputs differ, for example by a session id; the row gives the size of the group."""

    async def conversation(http: Http) -> None:
        def call(index: int, text: str) -> Awaitable[httpx.Response]:
            output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
            body = {
                "responses_create_params": {"input": f"question {index} {text}"},
                "response": {"output": output},
                "_ng_task_index": index,
                "group_size": 5,
            }
            return http.post("/verify", json=body)

        scored = await answers(*(call(3, text) for text in TEXTS), *(call(4, text) for text in TEXTS))
        assert [each["reward"] for each in scored] == 2 * await solver(http, TEXTS)
        assert [each["_ng_task_index"] for each in scored] == [3] * 5 + [4] * 5
        assert [each["reward_partial"] for each in scored] == [0.0] * 10

    talk(url, conversation)


@pytest.mark.parametrize(
    ("ids", "others"),
    [
        ({"prompt_id": None, "_ng_task_index": 3}, {"prompt_id": None, "_ng_task_index": 4}),
        ({"prompt_id": "a", "_ng_task_index": 3}, {"prompt_id": "b", "_ng_task_index": 3}),
        ({"prompt_id": None, "expected_answer": "7"}, {"prompt_id": None, "expected_answer": "5"}),
        ({"verifier_metadata": {"answer": 7}}, {"verifier_metadata": {"answer": 5}}),
    ],
)
def test_nemo_gym_tasks_are_distinguished(url: str, ids: Json, others: Json) -> None:
    """By the first id that is not null, else by the row's label and input."""

    async def conversation(http: Http) -> None:
        groups = [TEXTS, [rollout("9", "south")] * 4 + [rollout("3", "west")]]

        def call(task: Json, text: str) -> Awaitable[httpx.Response]:
            output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
            body = {"responses_create_params": {"input": "q"}, "response": {"output": output}, **task}
            return http.post("/verify?group_size=5", json=body)

        mixed = [
            (task, texts[index])
            for index in range(5)
            for task, texts in zip((ids, others), groups, strict=True)
        ]
        scored = await answers(*(call(*each) for each in mixed))
        for task, texts in zip((ids, others), groups, strict=True):
            mine = [each["reward"] for each, (of, _) in zip(scored, mixed, strict=True) if of is task]
            assert mine == await solver(http, texts)

    talk(url, conversation)


def test_an_abstention_is_neutral_or_an_error_and_never_zero(url: str) -> None:
    async def conversation(http: Http) -> None:
        texts = [UNCLEAR, rollout("7", "east"), rollout("8", "west")]
        expected = await solver(http, texts)
        assert expected[0] is None
        scored = await answers(*(remote(http, text, size=3) for text in texts))
        assert [each["reward"] for each in scored[1:]] == expected[1:]
        assert scored[0]["reward"] == sum(expected[1:]) / 2
        assert [each["abstained"] for each in scored] == [1.0, 0.0, 0.0]
        for response in await asyncio.gather(*(remote(http, UNCLEAR, size=2) for _ in range(2))):
            assert (response.status_code, response.json()["code"]) == (422, "not_judged")
            assert not response.json()["retryable"]

    talk(url, conversation)


def test_while_steps_have_no_weight_they_need_not_be_judged(url: str) -> None:
    """During the warm-up of the step reward, only the outcome counts."""

    async def conversation(http: Http) -> None:
        texts = [UNCLEAR, UNCLEAR, rollout("8", "west")]
        for group_of in (texts[:2], texts):
            expected = await solver(http, group_of, progress=0.1)
            assert None not in expected
            calls = [
                post_remote(http, "p", text, {"group_size": len(group_of), "progress": 0.1})
                for text in group_of
            ]
            scored = await answers(*calls)
            assert [each["reward"] for each in scored] == [each["outcome"] for each in scored] == expected
            assert [each["abstained"] for each in scored] == [0.0] * len(group_of)
            assert [each["steps_judged"] for each in scored] == [0.0, 0.0, 1.0][: len(group_of)]
            assert {each["trajectory"] for each in scored} == {0.0}

    talk(url, conversation)


def test_at_the_deadline_the_waiting_callers_are_scored(url: str) -> None:
    async def conversation(http: Http) -> None:
        scored = await answers(*(remote(http, text, deadline_s=SHORT_S) for text in TEXTS[:3]))
        assert [each["reward"] for each in scored] == await solver(http, TEXTS[:3])
        assert [each["partial"] for each in scored] == [1.0] * 3
        late = await answers(*(remote(http, text, deadline_s=SHORT_S) for text in TEXTS[3:]))
        assert [each["group_size"] for each in late] == [2.0] * 2
        await waiting(http, 0)

    talk(url, conversation)


def test_a_retry_takes_its_old_position(url: str) -> None:
    """A caller that leaves and retries is one member, not two."""

    async def conversation(http: Http) -> None:
        first = asyncio.create_task(remote(http, TEXTS[0]))
        await waiting(http, 1)
        leaving = asyncio.create_task(remote(http, TEXTS[1]))
        await waiting(http, 2)
        leaving.cancel()
        await waiting(http, 1)
        third = asyncio.create_task(remote(http, TEXTS[2]))
        await waiting(http, 2)
        rest = [asyncio.create_task(remote(http, text)) for text in (TEXTS[3], TEXTS[4])]
        await waiting(http, 4)
        again = asyncio.create_task(remote(http, TEXTS[1]))
        scored = await answers(first, again, third, *rest)
        assert [each["reward"] for each in scored] == await solver(http, TEXTS)
        assert [each["partial"] for each in scored] == [0.0] * 5
        assert await metric(http, "reward_cohort_returns_total") == 1

    talk(url, conversation)


def test_a_retry_of_an_answer_that_was_never_read(url: str) -> None:
    """Its connection breaks while the answer is on the way; the retry gets that answer and joins no other group."""

    async def conversation(http: Http) -> None:
        address = httpx.URL(url)
        body = json.dumps({"prompt": "p", "response": TEXTS[4], "label": None}).encode()
        head = "POST /cohort/remote?group_size=5 HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        _, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await waiting(http, 1)
        calls = [asyncio.create_task(remote(http, TEXTS[index])) for index in range(4)]
        expected = await solver(http, TEXTS)
        assert [each["reward"] for each in await answers(*calls)] == expected[:4]
        writer.transport.abort()
        again = (await answers(remote(http, TEXTS[4], deadline_s=SHORT_S)))[0]
        assert (again["reward"], again["group_size"], again["partial"]) == (expected[4], 5.0, 0.0)
        assert await metric(http, "reward_cohort_returns_total") == 1

    talk(url, conversation)


def test_a_call_after_its_answer_was_sent(url: str) -> None:
    """It is new; it gets its old answer only if every caller that waits when time is up was answered before."""

    async def conversation(http: Http) -> None:
        expected = await solver(http, TEXTS)

        def post(text: str, **fields: Any) -> "asyncio.Task[httpx.Response]":
            return asyncio.create_task(remote(http, text, deadline_s=SHORT_S, **fields))

        async def sent_before() -> None:
            scored = await answers(*(post(text) for text in TEXTS))
            assert [each["reward"] for each in scored] == expected

        await sent_before()
        lost = await answers(post(TEXTS[0]), post(TEXTS[3]))
        assert [each["reward"] for each in lost] == [expected[0], expected[3]]
        assert [(each["group_size"], each["partial"]) for each in lost] == [(5.0, 0.0)] * 2

        await sent_before()
        new = [TEXTS[0], *[rollout("9", "south")] * 4]
        scored = await answers(*(post(text) for text in new))
        assert [each["reward"] for each in scored] == await solver(http, new)

        await sent_before()
        few = [
            TEXTS[0],
            rollout("3", "west"),
        ]  # it may be a retry; the server treats it as new
        scored = await answers(*(post(text) for text in few))
        assert [each["reward"] for each in scored] == await solver(http, few)
        assert [each["partial"] for each in scored] == [1.0] * 2

        first = await answers(*(post(text, group_id="first") for text in TEXTS))
        again = post(TEXTS[0], group_id="first")
        others = [post(rollout("9", "south"), group_id="second") for _ in range(2)]
        assert (await answers(again))[0] == first[0]
        assert [each["group_size"] for each in await answers(*others)] == [2.0] * 2

    talk(url, conversation)


def test_a_dead_client_leaves_nothing_for_the_next(url: str) -> None:
    """Its half of a cohort joins no other group, although the prompt is the same."""

    async def conversation(http: Http) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as dying:
            calls = [asyncio.create_task(remote(dying, rollout("666", "south"))) for _ in range(3)]
            await waiting(http, 3)
            assert await metric(http, "reward_cohorts_half_full") == 1
            for call in calls:
                call.cancel()
            await asyncio.wait(calls)
        await waiting(http, 0)
        assert await metric(http, "reward_cohorts_half_full") == 0
        scored = await answers(*(remote(http, text) for text in TEXTS))
        assert [each["reward"] for each in scored] == await solver(http, TEXTS)

    talk(url, conversation)


def test_a_server_that_stops_answers_its_callers_at_once(compass: Path) -> None:
    """They get 503 long before their deadline, and can retry at the next server."""
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    body = {"prompt": "p", "response": TEXTS[0]}
    with ThreadPoolExecutor() as pool:
        with running(settings) as url:
            address = f"{url}/cohort/remote?group_size=5&deadline_s=600"
            calls = [pool.submit(httpx.post, address, json=body, timeout=PATIENCE_S) for _ in range(3)]
            talk(url, lambda http: waiting(http, 3))
        for call in calls:
            response = call.result(PATIENCE_S)
            assert (response.status_code, response.json()["code"]) == (503, "not_ready")
            assert response.json()["retryable"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/cohort/remote", {"prompt": "p", "response": "r"}, "group_size"),
        ("/cohort/remote?group_size=0", {"prompt": "p", "response": "r"}, "group_size"),
        ("/cohort/remote?group_size=2&deadline_s=0", {"prompt": "p", "response": "r"}, "deadline_s"),
        ("/cohort/remote?group_size=2&config=nowhere", {"prompt": "p", "response": "r"}, "config"),
        ('/cohort/remote?group_size=2&config={"alhpa":1}', {"prompt": "p", "response": "r"}, "config"),
        ("/cohort/remote?group_size=2", {"prompt": "p"}, "response"),
        ("/cohort/openrlhf?group_size=2", {"query": ["q"], "prompts": ["p"], "labels": []}, "query[0]"),
        ("/cohort/openrlhf?group_size=2", {"query": ["q", "r"], "prompts": ["q"]}, "body"),
        ("/verify?group_size=2", {"response": {}}, "responses_create_params"),
    ],
)
def test_an_invalid_call_is_refused_at_once(
    compass_http: httpx.Client, path: str, body: Json, field: str
) -> None:
    response = compass_http.post(path, json=body)
    assert response.status_code == 422
    assert field in json.dumps(response.json()["errors"])


def test_a_query_whose_prompt_was_decoded_differently(compass_http: httpx.Client) -> None:
    """A special token before the prompt, or a beginning that was cut off, is not part of the response."""
    prompt = "Answer in <answer> tags, like <answer>1</answer>. " * 3 + "How much is 3 + 4?"
    for decoded in (f"<s>{prompt}", prompt[60:]):
        body = {"query": [decoded + TEXTS[0]], "prompts": [prompt], "labels": [None]}
        logs = compass_http.post("/cohort/openrlhf?group_size=1", json=body).json()["extra_logs"]
        assert logs["valid"] == [1.0]
        two = {"query": [decoded + TEXTS[0], decoded + TEXTS[3]], "prompts": [prompt] * 2, "labels": [1, 1]}
        logs = compass_http.post("/cohort/openrlhf?group_size=2", json=two).json()["extra_logs"]
        assert logs["dominant_share"] == [0.5, 0.5]


def test_waiting_callers_are_bounded(compass: Path) -> None:
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    limits = Limits(cohorts=CohortLimits(max_callers=2))

    async def conversation(http: Http) -> None:
        calls = [asyncio.create_task(remote(http, text, deadline_s=4)) for text in TEXTS[:2]]
        await waiting(http, 2)
        refused = await remote(http, TEXTS[2])
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert refused.headers["retry-after"] == "1"
        await answers(*calls)

    with running(settings, limits=limits) as url:
        talk(url, conversation)


def test_a_token_in_the_url_is_accepted_and_separates_experiments(compass: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.txt"
    mine, other = add_token(tokens, "mine"), add_token(tokens, "other")
    settings = RewardServerSettings(
        embedder="token-mean", token_mean_checkpoint=compass, tokens_file=tokens, host="127.0.0.1"
    )

    def call(http: Http, path: str, body: Json, **parameters: Any) -> Coroutine[Any, Any, httpx.Response]:
        return http.post(path, params={"group_size": 1, **parameters}, json=body)

    async def conversation(http: Http) -> None:
        bodies: dict[str, Json] = {
            "/cohort/openrlhf": {"query": ["q"], "prompts": ["q"], "labels": [None]},
            "/cohort/remote": {"prompt": "q", "response": "r", "label": None},
            "/verify": {"responses_create_params": {"input": "q"}, "response": {"output": []}},
        }
        for path, body in bodies.items():
            assert (await call(http, path, body)).status_code == 401
            assert (await call(http, path, body, token="no")).status_code == 401
            assert (await call(http, path, body, token=mine)).status_code == 200
        body = bodies["/cohort/remote"]
        calls = [
            call(http, "/cohort/remote", body, group_size=2, deadline_s=SHORT_S, token=each)
            for each in (mine, other)
        ]
        assert [each["partial"] for each in await answers(*calls)] == [1.0, 1.0]

    with running(settings) as url:
        talk(url, conversation)


def test_a_call_over_the_limits_is_refused(compass: Path) -> None:
    settings = RewardServerSettings(embedder="token-mean", token_mean_checkpoint=compass)
    limits = Limits(max_rollouts=4, max_text_characters=100)

    async def conversation(http: Http) -> None:
        assert (await remote(http, "x" * 101, size=1)).json()["code"] == "request_too_large"
        assert "1 to 4" in (await remote(http, "x", size=5)).json()["detail"]
        assert (await remote(http, "x", size=1)).status_code == 200

    with running(settings, limits=limits) as url:
        talk(url, conversation)


async def early_retry(url: str, http: Http, prompt: str) -> httpx.Response:
    """The answer to a cohort's last rollout, which is sent again before its first connection is closed."""
    parameters = {"group_size": 4, "deadline_s": SHORT_S}
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as lost:
        first = asyncio.ensure_future(post_remote(lost, prompt, TEXTS[3], parameters))
        await asyncio.sleep(0.01)
        again = asyncio.ensure_future(post_remote(http, prompt, TEXTS[3], parameters))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.wait([first])
    return await again


def test_a_retry_that_is_seen_before_its_predecessors_hang_up_is_scored_with_its_cohort(url: str) -> None:
    """Fifty times, at once."""

    async def conversation(http: Http) -> None:
        expected = await solver(http, TEXTS[:4])
        parameters = {"group_size": 4, "deadline_s": PATIENCE_S}
        prompts = [f"p{trial}" for trial in range(50)]
        sent = [post_remote(http, prompt, text, parameters) for prompt in prompts for text in TEXTS[:3]]
        others = [asyncio.ensure_future(each) for each in sent]
        await waiting(http, len(others))
        retries = await answers(*(early_retry(url, http, prompt) for prompt in prompts))
        scored = await answers(*others)
        for trial, retry in enumerate(retries):
            rewards = [each["reward"] for each in [*scored[3 * trial : 3 * trial + 3], retry]]
            assert rewards == pytest.approx(expected, abs=1e-6)
        assert {each["partial"] for each in [*scored, *retries]} == {0.0}

    talk(url, conversation)
