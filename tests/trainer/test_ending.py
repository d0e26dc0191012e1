"""Whatever ends a run saves it as of its last whole update, and it resumes as if it had not ended."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import TrainerCallback, TrainerState

from ireasoner.trainer.adapters.first_process import FirstProcess
from ireasoner.trainer.console import errors_reported
from ireasoner.trainer.errors import AdapterError, RunInterrupted
from ireasoner.trainer.loop import stop_signals
from ireasoner.trainer.loop.stop_signals import StopSignals
from ireasoner.trainer.loop.train import train
from ireasoner.trainer.loop.trainer import ProposerSolverTrainer
from ireasoner.trainer.run_folder.run_folder import read_lines
from tests.moved_clock import MovedClock
from tests.rollout_server.running import free_port
from tests.trainer.offline import OfflineRollouts, offline_settings, offline_trainer, reasoning

Deed = Callable[[ProposerSolverTrainer], None]

ANSWERS = (1, 2)
FIELDS: dict[str, Any] = {
    "updates": 6,
    "proposer_every": 1,
    "group_size": 2,
    "save_every": 100,
    "advantage": "moving_baseline",
    "kl": {"mode": "adaptive", "beta": 0.04},
    "lora": {"dropout": 0.1},  # its masks are drawn from the random state that a checkpoint holds
    "retry_budget_s": 0,
}


def say(policy: str, request: int, member: int) -> str:
    if "proposer" in policy:
        return f"<question>What is the sum of row {1 + member}?</question>"
    return reasoning(ANSWERS[member] + request)


def sends(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def fails(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


class At(TrainerCallback):  # type: ignore[misc]
    """Does something in one event of the update after `updates` finished ones."""

    def __init__(self, event: str, updates: int, deed: Callable[[], None]) -> None:
        def happen(args: Any, state: TrainerState, *_: Any, **__: Any) -> None:
            if state.global_step == updates:
                deed()

        setattr(self, event, happen)


def in_the_step(updates: int, deed: Callable[[], None]) -> Callable[[ProposerSolverTrainer], None]:
    """Does something in the optimizer's step, while half of the weights and moments are not what they will be."""

    def patch(trainer: ProposerSolverTrainer) -> None:
        def touch(optimizer: Any, *_: Any) -> None:
            if trainer.state.global_step == updates:
                moved = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
                touched = [
                    tensor
                    for parameter in moved[: len(moved) // 2]
                    for tensor in (parameter.data, optimizer.state[parameter]["exp_avg"])
                ]
                before = [tensor.clone() for tensor in touched]
                for tensor in touched:
                    tensor.add_(1.0)
                deed()
                for tensor, value in zip(touched, before, strict=True):
                    tensor.copy_(value)

        create = trainer.create_optimizer

        def created(model: Any = None) -> torch.optim.Optimizer:
            optimizer = create(model)
            optimizer.register_step_post_hook(touch)
            return optimizer

        trainer.create_optimizer = created  # type: ignore[method-assign]

    return patch


def in_the_forward_pass(updates: int, deed: Callable[[], None]) -> Callable[[ProposerSolverTrainer], None]:
    def patch(trainer: ProposerSolverTrainer) -> None:
        def before(*_: Any) -> None:
            if trainer.state.global_step == updates:
                deed()

        trainer.model.get_base_model().model.register_forward_pre_hook(before)

    return patch


def in_the_baseline(updates: int, deed: Callable[[], None]) -> Callable[[ProposerSolverTrainer], None]:
    """Does something when the moving baseline of the next update has moved already."""

    def patch(trainer: ProposerSolverTrainer) -> None:
        taken = trainer.baselines.advantages

        def advantages(*arguments: Any) -> list[float]:
            moved = taken(*arguments)
            if trainer.state.global_step == updates:
                deed()
            return moved

        trainer.baselines.advantages = advantages  # type: ignore[assignment, method-assign]

    return patch


def while_saving(updates: int, deed: Callable[[], None]) -> Callable[[ProposerSolverTrainer], None]:
    def patch(trainer: ProposerSolverTrainer) -> None:
        write = trainer.write_checkpoint

        def written(*arguments: Any) -> None:
            deed()
            write(*arguments)

        def save() -> None:
            trainer.control.should_save = True

        trainer.add_callback(At("on_step_end", updates, save))
        trainer.write_checkpoint = written  # type: ignore[assignment, method-assign]

    return patch


def while_publishing(version: str, deed: Callable[[], None]) -> Callable[[ProposerSolverTrainer], None]:
    def patch(trainer: ProposerSolverTrainer) -> None:
        publish = trainer.publisher.publish

        def published(policy: Any, role: Any, number: int, first_process: FirstProcess) -> str:
            if f"{role}-{number}" == version:
                deed()
            return publish(policy, role, number, first_process)

        trainer.publisher.publish = published  # type: ignore[assignment, method-assign]

    return patch


def while_sampling(updates: int, deed: Callable[[], None]) -> Callable[[ProposerSolverTrainer], None]:
    def patch(trainer: ProposerSolverTrainer) -> None:
        take = trainer._prefetch.take

        def taken(update: int) -> Any:
            if update == updates:
                deed()
            return take(update)

        trainer._prefetch.take = taken  # type: ignore[method-assign]

    return patch


def callback(event: str, updates: int, deed: Callable[[], None]) -> Callable[[ProposerSolverTrainer], None]:
    return lambda trainer: trainer.add_callback(At(event, updates, deed))


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory")

Ending = tuple[str, Callable[[ProposerSolverTrainer], None], type[BaseException], int]
"""A way to end a run: its name, what does it, the exception, and the updates that are saved."""

MAIN: list[Ending] = [
    ("Ctrl-C while sampling", while_sampling(1, sends(signal.SIGINT)), RunInterrupted, 1),
    ("out of memory, in the step", in_the_step(3, fails(OUT_OF_MEMORY)), torch.OutOfMemoryError, 3),
    ("SIGTERM in the step", in_the_step(3, sends(signal.SIGTERM)), RunInterrupted, 4),
    ("a tracker that fails", callback("on_log", 5, fails(ConnectionError("x"))), ConnectionError, 4),
]
OTHERS: list[Ending] = [
    ("out of memory, forward", in_the_forward_pass(1, fails(OUT_OF_MEMORY)), torch.OutOfMemoryError, 1),
    ("a defect in a callback", callback("on_step_end", 3, fails(AssertionError("x"))), AssertionError, 2),
    ("SIGHUP in the forward pass", in_the_forward_pass(2, sends(signal.SIGHUP)), RunInterrupted, 2),
    ("a disk that fails", while_publishing("solver-2", fails(AdapterError("full"))), AdapterError, 3),
    ("sys.exit, baseline moved", in_the_baseline(3, fails(SystemExit(3))), SystemExit, 3),
    ("SIGTERM while saving", while_saving(4, sends(signal.SIGTERM)), RunInterrupted, 4),
    ("Ctrl-C between", callback("on_step_begin", 4, sends(signal.SIGINT)), RunInterrupted, 4),
    ("SIGTERM while publishing", while_publishing("solver-3", sends(signal.SIGTERM)), RunInterrupted, 5),
]


def trainer_of(folder: Path, rollouts: OfflineRollouts, **fields: Any) -> ProposerSolverTrainer:
    return offline_trainer(offline_settings(folder, **FIELDS, **fields), rollouts)


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Signals as a shell leaves them, whatever the test run was started with."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in stop_signals.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("ends", [MAIN, pytest.param(OTHERS, marks=pytest.mark.slow)], ids=["main", "others"])
def test_a_run_that_ends_again_and_again_ends_as_one_that_did_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, default_signals: None, ends: list[Ending]
) -> None:
    rollouts = OfflineRollouts(say)
    whole = trainer_of(tmp_path / "whole", rollouts)
    whole.go()
    resume = False
    for name, patch, expected, updates in ends:
        caplog.clear()
        ended = trainer_of(tmp_path / "ended", rollouts, resume=resume)
        resume = True
        patch(ended)
        with pytest.raises(expected):
            ended.go()
        assert f"saved at update {updates}; go on with --resume" in caplog.text, name
        assert (ended.run.checkpoints / f"checkpoint-{updates}" / "loop.json").exists(), name
        assert not list(ended.run.checkpoints.glob(".partial")), name
    resumed = trainer_of(tmp_path / "ended", rollouts, resume=True)
    resumed.go()

    pairs = zip(whole.model.named_parameters(), resumed.model.named_parameters(), strict=True)
    assert [name for (name, one), (_, other) in pairs if not torch.equal(one, other)] == []
    logs = [list(read_lines(trainer.run.path / "metrics.jsonl")) for trainer in (whole, resumed)]
    assert [line["update"] for line in logs[1]] == list(range(1, 7))
    for one, other in zip(*logs, strict=True):
        for name in ("loss", "kl", "kl_coefficient", "grad_norm", "learning_rate"):
            assert other[f"{other['role']}/{name}"] == one[f"{one['role']}/{name}"]
    counted = [
        [(group["update"], group["trained_on"]) for group in read_lines(trainer.run.groups)]
        for trainer in (whole, resumed)
    ]
    assert counted[1] == counted[0], "no group is lost or written twice"


@pytest.mark.timeout(300)
def test_a_run_without_a_whole_update_says_that_nothing_is_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = trainer_of(tmp_path, OfflineRollouts(say))
    in_the_step(0, fails(OUT_OF_MEMORY))(trainer)
    with pytest.raises(torch.OutOfMemoryError):
        trainer.go()
    assert "nothing is saved" in caplog.text
    assert not list(trainer.run.checkpoints.glob("checkpoint-*"))


@pytest.mark.timeout(300)
def test_a_signal_while_servers_are_waited_for_ends_the_start(tmp_path: Path, default_signals: None) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    def alive() -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    with pytest.raises(RunInterrupted, match="interrupted by SIGTERM"):
        train(offline_settings(tmp_path, reward={"url": url}), Console(quiet=True), is_alive=alive)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "the handler is gone with the run"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_the_exit_code_names_the_signal(number: int, code: int) -> None:
    with pytest.raises(SystemExit) as ended, errors_reported("train"):
        raise RunInterrupted(number)
    assert ended.value.code == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_until_the_run_can_stop(number: int, default_signals: None) -> None:
    reached = []
    with StopSignals() as signals:
        os.kill(os.getpid(), number)
        reached.append("the update goes on")
        with pytest.raises(RunInterrupted), signals.raised():
            pytest.fail("the block is not entered")
        with pytest.raises(RunInterrupted):
            signals.check()
    assert reached == ["the update goes on"]
    assert signals.received == number


def test_a_signal_is_raised_at_once_in_a_block_that_can_stop(default_signals: None) -> None:
    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("it is raised before the next line")

    with StopSignals() as signals:
        with signals.raised(), signals.raised():
            pass
        with pytest.raises(RunInterrupted), signals.raised():
            stop()


def test_blocks_nest_and_restore_the_handlers(default_signals: None) -> None:
    with StopSignals() as signals:
        with signals:
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == signal.SIGTERM
    assert [signal.getsignal(number) for number in stop_signals.SIGNALS] == [signal.SIG_DFL] * 3


def test_an_ignored_signal_stays_ignored(default_signals: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.received is None


def test_in_another_thread_nothing_is_received(default_signals: None) -> None:
    def enter() -> None:
        with StopSignals():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert done


@pytest.mark.parametrize(
    ("second", "after_s", "processes", "ends"),
    [
        (signal.SIGINT, 1.0, "1", [130]),
        (signal.SIGINT, 0.01, "1", []),  # the same Ctrl-C, sent to the process and to its group
        (signal.SIGTERM, 1.0, "1", []),
        (signal.SIGINT, 1.0, "2", []),  # a launcher sends its own copies
    ],
)
def test_a_second_ctrl_c_ends_at_once(
    monkeypatch: pytest.MonkeyPatch,
    default_signals: None,
    second: int,
    after_s: float,
    processes: str,
    ends: list[int],
) -> None:
    codes: list[int] = []
    clock = MovedClock.of(monkeypatch, "ireasoner.trainer.loop.stop_signals")
    monkeypatch.setattr("ireasoner.trainer.loop.stop_signals.os._exit", codes.append)
    monkeypatch.setenv("WORLD_SIZE", processes)
    with StopSignals():
        os.kill(os.getpid(), signal.SIGINT)
        clock.now_s += after_s
        os.kill(os.getpid(), second)
    assert codes == ends
