"""The run as its last whole update left it: what is saved when the next update does not get to its end."""

from collections.abc import Iterable
from typing import Any

import torch

from ireasoner.trainer.run_folder.checkpoint import LoopState, RandomState


class WholeUpdate:
    """What the next update changes, as it was before.

    The first `keep_trained` copies the parameters that the optimizer is about to move, with their moments: the trained
    role's adapter alone. The copies are in host memory, 12 bytes for each parameter of the adapter with Adam.

    Args:
        trainer: The trainer at the end of an update.
        loop: The state of the loop.
        random: The random state of each process.
    """

    def __init__(self, trainer: Any, loop: LoopState, random: list[RandomState]) -> None:
        self.loop = loop
        self.random = random
        self._epoch = trainer.state.epoch
        self._schedule = dict(trainer.lr_scheduler.state_dict())
        self._trained: list[tuple[torch.nn.Parameter, torch.Tensor, dict[str, Any] | None]] = []

    def keep_trained(self, optimizer: Any, following: Iterable[torch.nn.Parameter] = ()) -> None:
        """Copies what the next step of the optimizer changes, and parameters that follow without a gradient."""
        self._trained += [(parameter, _copy(parameter.detach()), None) for parameter in following]
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = optimizer.state.get(parameter)
                    copied = None if state is None else {name: _copy(value) for name, value in state.items()}
                    self._trained.append((parameter, _copy(parameter.detach()), copied))

    def restore(self, trainer: Any) -> None:
        """Puts the trainer back to where the update ended, in this process."""
        optimizer = trainer.optimizer
        for parameter, value, state in self._trained:
            parameter.data.copy_(value)
            optimizer.state.pop(parameter, None)
            if state is not None:
                optimizer.state[parameter] = state
        trainer.lr_scheduler.load_state_dict(self._schedule)
        trainer.state.global_step, trainer.state.epoch = self.loop.update, self._epoch
        self.random[trainer.args.process_index].restore()


def _copy(value: Any) -> Any:
    return value.to("cpu", copy=True) if isinstance(value, torch.Tensor) else value
