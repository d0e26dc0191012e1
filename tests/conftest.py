"""Fixtures that several packages of tests share; each is made once a session."""

import gc
import logging
import os
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG

from ireasoner.compat.repairs import install
from ireasoner.trainer.commands.service import LocalServer
from tests import certificates, random_policy
from tests.rollout_server.running import PINNED, free_port, running_server

install()
certificates.read_once()

MODEL = Path(__file__).resolve().parents[1] / "models" / "digit-grids"
"""The committed tiny model."""

_SHARED = ("rollout_url", "pinned_url")
"""Fixtures whose server several modules of tests share, in the order of their turns."""


_HTTP_TIMEOUT_S = 60.0
"""Of a request that sets none: httpx's own 5 s are too short on a busy machine."""


def pytest_configure(config: pytest.Config) -> None:
    """Gives the suite caches of its own and patience, and takes SIGINT back if the suite was started with it ignored.

    The workers share the caches: what one has converted the other reads.
    `nohup`, `make test &` and some CI systems ignore SIGINT. Child processes inherit that, so tests could not interrupt
    them.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        cache = tempfile.TemporaryDirectory(prefix="ireasoner-tests-", ignore_cleanup_errors=True)
        config.add_cleanup(cache.cleanup)
        os.environ["IREASONER_CACHE"] = cache.name
        os.environ["HF_DATASETS_CACHE"] = f"{cache.name}/datasets"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("connect", "read", "write", "pool"):
        setattr(DEFAULT_TIMEOUT_CONFIG, name, _HTTP_TIMEOUT_S)


_LONG = ("tests/trainer/", "tests/replication/", "tests/packaging/", "tests/frameworks/")
"""Folders whose files take up to a minute each."""


@pytest.hookimpl(tryfirst=True)  # the marks are read as soon as tests are collected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the real vLLM come first, those that share a server after each other; the shortest files come last.

    Where tests run in parallel, one worker has all with vLLM, and so one server at a time, and no worker is left with
    a long file at the end. A name that holds the address of an object differs between workers, which then refuse to
    start.
    """
    if unstable := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give these parameters ids without addresses: {', '.join(unstable)}")
    for item in items:
        if item.get_closest_marker("vllm"):
            item.add_marker(pytest.mark.xdist_group("vllm"))
    items.sort(key=_turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives each file to one worker, unless its tests belong to a group: each file's fixtures are made once."""
    from xdist.scheduler import LoadGroupScheduling

    class FilesAndGroups(LoadGroupScheduling):  # type: ignore[misc]
        """Hands out groups and files in the order of collection."""

        def _split_scope(self, nodeid: str) -> str:
            return str(super()._split_scope(nodeid)).partition("::")[0]

    if config.getvalue("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False
    return FilesAndGroups(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects no garbage while tests are imported, and leaves what they import out of later collections.

    It is most of what a process holds.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def _turn(item: pytest.Item) -> int:
    if not item.get_closest_marker("vllm"):
        begins = (item.get_closest_marker("xdist_group"), item.nodeid.startswith(_LONG), True)
        return len(_SHARED) + next(turn for turn, found in enumerate(begins, 1) if found)
    shared = [turn for turn, name in enumerate(_SHARED, 1) if name in getattr(item, "fixturenames", ())]
    return max(shared, default=0)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, None, None]:
    """Ends the output with a line that says so if the browser tests were skipped."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and any(
        report.nodeid.startswith("tests/browser/") for report in reporter.stats.get("skipped", ())
    ):
        reporter.write_line("browser tests skipped: no Chromium; run `make browser`", yellow=True)


@pytest.fixture(autouse=True)
def loggers_of_each_test() -> Iterator[None]:
    """Takes back what a command that a test ran did to loggers: their levels, and the root's handlers.

    A handler's stream is closed with the test's output, and a command quiets libraries.
    """
    root = logging.getLogger()
    handlers, before = root.handlers[:], _levels()
    yield
    root.handlers[:] = handlers
    for name, level in _levels().items():
        if level != before.get(name, logging.NOTSET):
            logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))


def _levels() -> dict[str | None, int]:
    """The level of each logger, by name; the root's name is None."""
    levels: dict[str | None, int] = {
        name: logger.level
        for name, logger in logging.Logger.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    return levels | {None: logging.getLogger().level}


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a tiny Qwen2.5-VL with random weights."""
    return random_policy.build(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Starts the real vLLM on the tiny model with these flags; the one before it ends, since each takes gigabytes."""
    serving: dict[tuple[str, ...], str] = {}
    with ExitStack() as stack:

        def start(*flags: str) -> str:
            if flags not in serving:
                serving.clear()
                stack.close()
                log = tmp_path_factory.mktemp("tiny_rollout_server") / "log.txt"
                serving[flags] = stack.enter_context(running_server(MODEL, log, *flags)).url
            return serving[flags]

        yield start


@pytest.fixture(scope="module")
def rollout_url(serve: Callable[..., str]) -> str:
    """The real vLLM serving the tiny model."""
    return serve()


@pytest.fixture(scope="module")
def pinned_url(serve: Callable[..., str]) -> str:
    """The real vLLM serving the tiny model so that equal seeds give equal bits: one sequence at a time, no cache."""
    return serve(*PINNED)


@pytest.fixture(scope="session")
def reward_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running reward server with the default embedder."""
    log = tmp_path_factory.mktemp("reward_server") / "log.txt"
    with LocalServer("reward_server", free_port(), log=log) as server:
        server.wait_until_ready(120)
        yield server.url
