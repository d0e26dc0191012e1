"""The embedding worker's process may load the embedder before the server waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from ireasoner.reward_server.child_process import ChildRefused
from ireasoner.reward_server.embedding.backend import ThreadBackend
from ireasoner.reward_server.embedding.embedder import EmbedderSpec
from ireasoner.reward_server.embedding.token_mean import TokenMean
from ireasoner.reward_server.embedding.worker_backend import WorkerBackend, launched_backend

DEADLINE_S = 60.0


def compass_spec(compass: Path) -> EmbedderSpec:
    """An embedder that loads at once."""
    return EmbedderSpec("token-mean", compass, "auto", "cpu", None)


def run(spec: EmbedderSpec, scenario: Callable[[WorkerBackend], Awaitable[None]]) -> None:
    """Runs a scenario with a backend that is stopped at its end, and then has left no process."""
    before = set(psutil.Process().children())

    async def stopped() -> None:
        backend = WorkerBackend(spec, DEADLINE_S)
        try:
            await scenario(backend)
        finally:
            await backend.stop()

    asyncio.run(stopped())
    assert set(psutil.Process().children()) <= before


@pytest.mark.parametrize("launched", [True, False])
def test_one_worker_embeds_whether_it_was_launched_before_or_not(compass: Path, launched: bool) -> None:
    async def scenario(backend: WorkerBackend) -> None:
        before = len(psutil.Process().children())
        if launched:
            await backend.launch()
        await backend.start()
        assert len(psutil.Process().children()) == before + 1
        assert (backend.name, backend.restarts, backend.fault) == ("token-mean", 0, None)
        tokens = await backend.tokenize(["north"])
        assert np.array_equal(await backend.embed(tokens), TokenMean(compass).embed(tokens))

    run(compass_spec(compass), scenario)


def test_a_launched_worker_that_cannot_load_is_reported_when_it_is_waited_for(tmp_path: Path) -> None:
    async def scenario(backend: WorkerBackend) -> None:
        await backend.launch()
        with pytest.raises(ChildRefused, match=r"tokenizer\.json is missing"):
            await backend.start()

    run(compass_spec(tmp_path), scenario)


def test_a_launched_worker_that_nobody_waits_for_ends_with_its_backend(compass: Path) -> None:
    run(compass_spec(compass), WorkerBackend.launch)


def test_only_an_embedder_that_can_crash_has_a_process_to_launch(compass: Path) -> None:
    backend = asyncio.run(launched_backend(compass_spec(compass)))
    assert isinstance(backend, ThreadBackend)


@pytest.mark.parametrize("checkpoint", [None, Path("/a/b c")])
def test_a_spec_survives_json(checkpoint: Path | None) -> None:
    spec = EmbedderSpec("minilm", checkpoint, "openvino-fp32", "cpu", 2)
    assert EmbedderSpec.read(spec.written()) == spec
