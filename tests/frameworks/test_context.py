"""What each adapter tells the server's ledger of a group, and that no reward depends on it.

The frameworks are stand-ins: `test_contracts`, `test_trl` and `test_own_environments` call the adapters as they do.
"""

import asyncio
import hashlib
import importlib
import io
import logging
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from ireasoner.clients import async_client, codec, sync_client
from ireasoner.clients.framework_context import Context, image_bytes, read_context
from ireasoner.clients.reward_service import RewardService
from ireasoner.clients.server_context import server_context
from ireasoner.clients.slime_reward import group_reward
from ireasoner.clients.trl_reward import GroupReward
from ireasoner.clients.wire import ScoreRequest
from tests.frameworks.conftest import Solver
from tests.frameworks.rollouts import GROUPS, neutral

TEXTS = next(iter(GROUPS.values()))
SIZE = len(TEXTS)
PICTURE = Image.new("RGB", (8, 8), (200, 30, 30))
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "image", "image": PICTURE}, {"type": "text", "text": "How many?"}],
    },
]
ASKED = Context("How many?", PICTURE, ["7"])


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


SHA256 = hashlib.sha256(png(PICTURE)).hexdigest()


class _Meta(type):
    """Any attribute of a stand-in class is a stand-in."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn


class StandIn(metaclass=_Meta):
    """A class, a base class or a generic class of a framework."""

    def __class_getitem__(cls, _: object) -> Any:
        return cls


class Framework(ModuleType):
    """A module that has whatever an adapter imports."""

    __path__: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "get_logger":
            return logging.getLogger
        if name == "register":  # ROLL's decorator
            return lambda **_: lambda function: function
        return {} if name == "orms" else StandIn


MODULES = {
    "areal": ["areal", "areal.utils", "areal.workflow", "areal.workflow.rlvr"],
    "openrlhf": ["openrlhf", "openrlhf.utils", "openrlhf.utils.agent"],
    "open_instruct": ["open_instruct", "open_instruct.ground_truth_utils"],
    "roll": [
        "roll",
        "roll.distributed",
        "roll.distributed.executor",
        "roll.distributed.executor.worker",
        "roll.distributed.scheduler",
        "roll.distributed.scheduler.decorator",
        "roll.distributed.scheduler.protocol",
        "roll.models",
        "roll.models.model_providers",
        "roll.utils",
        "roll.utils.logging",
    ],
    "skyrl": [
        "loguru",
        "skyrl",
        "skyrl.train",
        "skyrl.train.generators",
        "skyrl.train.generators.skyrl_gym_generator",
    ],
    "swift": ["swift", "swift.rewards"],
    "verifiers": ["verifiers", "verifiers.v1"],
    "verl": [
        "verl",
        "verl.experimental",
        "verl.experimental.agent_loop",
        "verl.experimental.agent_loop.agent_loop",
        "verl.experimental.agent_loop.single_turn_agent_loop",
        "verl.experimental.reward_loop",
        "verl.experimental.reward_loop.reward_manager",
        "verl.experimental.reward_loop.reward_manager.base",
    ],
}


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch, framework: str) -> Iterator[Any]:
    """The adapter of a framework, above stand-ins."""
    for name in MODULES[framework]:
        monkeypatch.setitem(sys.modules, name, Framework(name))
    module = importlib.import_module(f"ireasoner.clients.{framework}_reward")
    yield module
    del sys.modules[module.__name__]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, compass_url: str) -> list[ScoreRequest]:
    """The requests that adapters send to the server of the environment."""
    requests: list[ScoreRequest] = []

    def encode(request: ScoreRequest) -> bytes:
        requests.append(request)
        return codec.encode_request(request)

    for client in (sync_client, async_client):
        monkeypatch.setattr(client, "encode_request", encode)
    monkeypatch.setenv("IREASONER_REWARD_URL", compass_url)
    server_context.cache_clear()
    return requests


def in_framework(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("framework", [name])


@in_framework("areal")
def test_areal(adapter: Any) -> None:
    response = SimpleNamespace(output_versions=[4, 5])
    data = {"messages": MESSAGES, "answer": "7", "messages_chat": []}
    assert read_context(adapter._context, data, response) == Context("How many?", PICTURE, ["7"], 5)
    images = {"messages": "How many?", "images": [PICTURE], "answer": 7}
    assert read_context(adapter._context, images, SimpleNamespace(output_versions=[])) == ASKED


@in_framework("roll")
def test_roll(adapter: Any) -> None:
    tokenizer = SimpleNamespace(batch_decode=lambda rows, skip_special_tokens: ["".join(row) for row in rows])
    worker = SimpleNamespace(tokenizer=tokenizer)
    data = SimpleNamespace(
        batch={"prompts": ["other", "How many?"]},
        non_tensor_batch={"ground_truth": ["8", "7"]},
        meta_info={"global_step": 3},
    )
    context = read_context(adapter.AgreementRewardWorker._context, worker, data, 1)
    assert context == Context("How many?", None, ["7"], 3)


@in_framework("skyrl")
def test_skyrl(adapter: Any) -> None:
    batch: dict[str, Any] = {
        "prompts": ["other", MESSAGES],
        "env_extras": [{}, {"reward_spec": {"method": "rule", "ground_truth": "7"}}],
        "batch_metadata": SimpleNamespace(global_step=3, training_phase="train"),
    }
    assert read_context(adapter._context, batch, 1) == Context("How many?", PICTURE, ["7"], 3)
    batch |= {"env_extras": None, "batch_metadata": None}
    assert read_context(adapter._context, batch, 1) == Context("How many?", PICTURE)


@in_framework("swift")
def test_ms_swift(adapter: Any) -> None:
    """The last message is the completion; images are a column."""
    said = [{"role": "user", "content": "<image>How many?"}, {"role": "assistant", "content": "7"}]
    columns = {
        "messages": [said, said],
        "images": [[{"bytes": b"other"}], [{"bytes": b"mine", "path": None}]],
        "solution": ["8", "7"],
        "trainer_state": SimpleNamespace(global_step=3),
    }
    context = read_context(adapter._context, columns, 1)
    assert context == Context("<image>How many?", {"bytes": b"mine", "path": None}, ["7"], 3)
    assert read_context(adapter._context, {"messages": [said]}, 0) == Context("<image>How many?")


@in_framework("verifiers")
def test_verifiers(adapter: Any) -> None:
    """The image of a task is that of its container."""
    dumped = {"prompt": MESSAGES, "image": "python:3.11", "answer": "7"}
    task = SimpleNamespace(data=SimpleNamespace(model_dump=lambda: dumped))
    assert read_context(adapter._context, task) == ASKED


@in_framework("verl")
def test_verl(adapter: Any) -> None:
    columns = {"raw_prompt": MESSAGES, "reward_model": {"style": "rule", "ground_truth": "7"}, "uid": "u"}
    assert read_context(adapter._context, columns, 3) == Context("How many?", PICTURE, ["7"], 3)
    assert read_context(adapter._context, {"uid": "u"}) == Context()
    trainer = SimpleNamespace(experiment_name="run-1")
    assert adapter._run_name(SimpleNamespace(trainer=trainer)) == "run-1"
    assert adapter._run_name(SimpleNamespace()) is None


@in_framework("openrlhf")
@pytest.mark.parametrize("by_name", [True, False])
def test_openrlhf(
    adapter: Any, sent: list[ScoreRequest], monkeypatch: pytest.MonkeyPatch, by_name: bool
) -> None:
    texts = iter(TEXTS)

    async def execute(*_: Any, **__: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"action_ranges": [(0, 1)], "observation_tokens": [next(texts)]}

    monkeypatch.setattr(StandIn, "execute", execute, raising=False)
    tokenizer = SimpleNamespace(decode=lambda tokens, skip_special_tokens: tokens[0])

    async def run() -> None:
        executor = adapter.AgentExecutor()
        named = {"sampling_params": None, "max_length": 1, "hf_tokenizer": tokenizer, "llm_engine": None}
        given = named | {"images": [PICTURE]}
        calls = (
            executor.execute("How many?", "7", **given)
            if by_name
            else executor.execute("How many?", "7", *given.values())
            for _ in TEXTS
        )
        await asyncio.gather(*calls)

    asyncio.run(run())
    [[group]] = [request.groups for request in sent]
    assert (group.question, group.image, group.labels) == ("How many?", SHA256, ["7"])


@in_framework("open_instruct")
def test_open_instruct(adapter: Any, sent: list[ScoreRequest], solver: Solver) -> None:
    answers = [["7"]] * SIZE, ["math"] * SIZE, ["stop"] * SIZE, None, ["How many?"] * SIZE
    reward_fn = adapter.AgreementRewardConfig().build()
    rewards, _ = asyncio.run(reward_fn([[1]] * SIZE, TEXTS, *answers))
    [[group]] = [request.groups for request in sent]
    assert (group.question, group.image, group.labels) == ("How many?", None, ["7"])
    assert rewards == neutral(solver(TEXTS))


def test_slime(sent: list[ScoreRequest], solver: Solver) -> None:
    samples = [
        SimpleNamespace(
            prompt="How many?",
            response=text,
            label="7",
            multimodal_inputs={"images": [PICTURE]},
            weight_versions=["2", "3"],
        )
        for text in TEXTS
    ]
    for _ in range(2):
        rewards = asyncio.run(group_reward(SimpleNamespace(wandb_group="run-1"), samples))
        assert rewards == neutral(solver(TEXTS))
    request, again = sent
    assert again.groups[0].image is None, "images are not encoded for a server that keeps none"
    [group] = request.groups
    assert (group.question, group.image, group.labels) == ("How many?", SHA256, ["7"])
    assert (request.update, request.source) == (3, "run-1")


@pytest.mark.parametrize("source", [None, "mine"])
def test_trl(
    sent: list[ScoreRequest],
    solver: Solver,
    compass_url: str,
    monkeypatch: pytest.MonkeyPatch,
    source: str | None,
) -> None:
    """Two groups; the image is in the prompt, as TRL puts it there."""
    monkeypatch.setenv("IREASONER_REWARD_SOURCE", "environment")
    prompts = [MESSAGES] * SIZE + [[{"role": "user", "content": "And now?"}]] * SIZE
    rewards = GroupReward(SIZE, compass_url, source=source)(
        prompts=prompts,
        completions=TEXTS * 2,
        completion_ids=[],
        solution=["so \\boxed{7}"] * SIZE + ["a long\nsolution"] * SIZE,
        trainer_state=SimpleNamespace(global_step=3, max_steps=10),
    )
    assert rewards == solver(TEXTS, 0.3) * 2
    [request] = sent
    assert (request.update, request.source) == (3, source or "environment")
    assert [(each.question, each.image, each.labels) for each in request.groups] == [
        ("How many?", SHA256, ["7"]),
        ("And now?", None, None),
    ]


OTHER = Image.new("RGB", (4, 16), (200, 30, 30))
"""As many pixels of the same colour, in another shape."""


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("solution", ["3", "3", "5", "5"], [["3"], ["5"]]),
        ("answer", [["3"], ["3"], None, None], [["3"], None]),
        ("labels", ["3", "3", "3", "3"], [["3"], ["3"]]),
        ("image", [PICTURE, PICTURE.copy(), OTHER, OTHER.copy()], [PICTURE, OTHER]),
        ("images", [[PICTURE], [PICTURE], [], []], [PICTURE, None]),
        ("images", [[PICTURE], [PICTURE.copy()], [PICTURE.copy()], [PICTURE]], [PICTURE, PICTURE]),
        ("image", [{"bytes": png(each)} for each in (PICTURE, PICTURE, OTHER, OTHER)], [PICTURE, OTHER]),
    ],
    ids=["labels", "label-and-none", "same-labels", "images", "image-and-none", "same-image", "bytes"],
)
def test_groups_of_one_prompt_keep_their_own_context(
    sent: list[ScoreRequest],
    monkeypatch: pytest.MonkeyPatch,
    compass_url: str,
    column: str,
    values: list[Any],
    expected: list[Any],
) -> None:
    """And an image is put once per batch, however many rows hold it."""
    puts: list[str | None] = []

    def put_images(_: RewardService, images: list[object]) -> list[str | None]:
        contents = [image_bytes(image) for image in images]
        puts.extend(None if content is None else hashlib.sha256(content).hexdigest() for content in contents)
        return puts[-len(images) :]

    monkeypatch.setattr(RewardService, "put_images", put_images)
    columns: dict[str, Any] = {column: values}
    GroupReward(2, compass_url)(["How many dots?"] * 4, [TEXTS[0]] * 4, **columns)
    [request] = sent
    if isinstance(expected[0], list):
        assert [group.labels for group in request.groups] == expected
        assert puts == [None]
    else:
        hashes = [None if image is None else hashlib.sha256(png(image)).hexdigest() for image in expected]
        assert [group.image for group in request.groups] == hashes
        assert len(puts) == len(set(hashes))


def test_no_fault_of_the_context_changes_a_reward(
    sent: list[ScoreRequest], solver: Solver, compass_url: str
) -> None:
    class Torn:
        size = (8, 8)

        def tobytes(self) -> bytes:
            return b"torn"

        def save(self, *_: Any, **__: Any) -> None:
            raise OSError("broken data stream")

    prompt = [{"role": "user", "content": [{"type": "image", "image": Torn()}]}]
    columns: dict[str, Any] = {"answer": [], "images": 7, "trainer_state": SimpleNamespace(max_steps=0)}
    assert GroupReward(SIZE, compass_url)([prompt] * SIZE, TEXTS, **columns) == solver(TEXTS)
    service = RewardService(compass_url)
    strange = Context(question="q" * 100_000, image=Torn(), labels=["x" * 5_000], update=-1)
    for judged in (service.score([TEXTS], contexts=[strange]), service.score([TEXTS])):
        assert [each.reward for each in judged[0]] == solver(TEXTS)


def test_the_source_of_the_environment_is_the_users() -> None:
    assert RewardService(source="mine").called("framework's").source == "mine"
    assert RewardService().called("framework's").source == "framework's"
    assert RewardService().called(None).source is None
