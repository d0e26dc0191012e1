"""The errors of the trainer.

    TrainerError
    ├── SettingsError        the settings cannot be run
    ├── CheckpointError      a checkpoint could not be written
    ├── ImagesError          there is no usable image
    │   └── UnreadableImageError      a file is no image that can be read
    ├── RolloutServerError   the rollout server refused, or was unreachable for longer than the budget
    │   ├── RolloutServerUnavailable  it is unreachable or overloaded       retried
    │   ├── RolloutRequestRefused     it refused one request; others may succeed
    │   └── PolicyMissingError        it does not serve the policy
    ├── RolloutMismatchError the rollout server's prompt is not the trainer's
    ├── StaleRolloutError    rollouts come from too old a version of the policy
    ├── AdapterError         vLLM cannot serve an adapter as it was trained
    │   └── CanaryError      vLLM serves another policy under its name
    ├── DivergedError        the KL is not a number
    ├── ProposerError        the Proposer writes no questions any more
    ├── ViewError            a view of a question, or its map of answers, failed
    ├── ScoringError         groups cannot be judged, or the scoring changed
    ├── RunFolderError       a run folder cannot be read or written
    └── ServiceError         a service that the demo started died or did not become ready

    KeyboardInterrupt
    └── RunInterrupted       a signal ended the run

The commands print the message of a `TrainerError` and exit with its `exit_status`: 2 if the user's settings or inputs
are wrong, 1 if the run failed. After a signal they exit with 128 plus its number. Any other exception is a defect and
keeps its trace.
"""

import signal
from typing import ClassVar


class TrainerError(Exception):
    """Base class of all errors that a user can act on."""

    exit_status: ClassVar[int] = 1


class SettingsError(TrainerError):
    """The settings cannot be run; the message names the field."""

    exit_status = 2


class CheckpointError(TrainerError):
    """A checkpoint could not be written; earlier ones are unchanged."""


class ImagesError(TrainerError):
    """There is no usable image, or a dataset or a file of questions cannot be read."""

    exit_status = 2


class UnreadableImageError(ImagesError):
    """A file is missing, no image, torn, or has no defined colours.

    Attributes:
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


class RolloutServerError(TrainerError):
    """The rollout server refused a request, or was unreachable for longer than the budget."""

    retryable: ClassVar[bool] = False


class RolloutServerUnavailable(RolloutServerError):
    """The rollout server is unreachable or overloaded; the request may succeed later."""

    retryable = True


class RolloutRequestRefused(RolloutServerError):
    """The rollout server refused a request for what is in it (an image that is too large, say)."""


class PolicyMissingError(RolloutServerError):
    """The server does not serve the policy: it was restarted, or another client unloaded the adapter."""


class RolloutMismatchError(TrainerError):
    """The rollout server's prompt differs from the one in the training forward pass."""


class AdapterError(TrainerError):
    """The rollout server cannot serve an adapter as it was trained."""


class CanaryError(AdapterError):
    """A published adapter's greedy tokens or log-probabilities are not the trainer's."""


class StaleRolloutError(TrainerError):
    """Rollouts were sampled from an older version of the policy than the run allows."""


class DivergedError(TrainerError):
    """The policy is not a distribution any more."""


class ProposerError(TrainerError):
    """Too many consecutive proposals hold no question."""


class ViewError(TrainerError):
    """A view of a question failed, or returned something else than an image, a question and a map of answers."""


class ScoringError(TrainerError):
    """Too many consecutive groups could not be judged, the scoring changed, or a reward variant returned no rewards."""


class RunFolderError(TrainerError):
    """A folder holds no run, or one of its files cannot be read or written; the message names the file."""


class ServiceError(TrainerError):
    """A service that this command started died or was not ready in time."""


class RunInterrupted(KeyboardInterrupt):
    """SIGINT (Ctrl-C), SIGTERM or SIGHUP ended the run.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return f"interrupted by {signal.Signals(self.number).name}"

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as shells report it: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.number
