"""What can go wrong in a run, as a tree.

    TrainerError
    ├── SettingsError        the configuration cannot be run
    ├── CheckpointError      a checkpoint that could not be written
    ├── ImagesError          no usable image
    ├── RolloutServerError   the rollout server refused, or stayed away past the budget
    ├── RolloutMismatchError what was sampled is not what would be trained
    ├── StaleRolloutError    rollouts of an older version than is allowed
    ├── AdapterError         an adapter that vLLM would serve wrongly, or did not take
    │   └── CanaryError      what is served under its name is another policy
    ├── DivergedError        a KL that is no number
    ├── ProposerError        the Proposer writes no questions any more
    ├── ScoringError         groups that cannot be judged, or are scored otherwise than before
    ├── RunFolderError       a run folder that cannot be read or written
    └── ServiceError         a service that the demo started has died or did not come up

The commands print the message of a `TrainerError` and exit with 1; anything else is a defect and keeps its trace.
"""


class TrainerError(Exception):
    """Base of all errors that a user can act on."""


class SettingsError(TrainerError):
    """The configuration cannot be run; the message names the field."""


class CheckpointError(TrainerError):
    """A checkpoint could not be written; those before it are as they were."""


class ImagesError(TrainerError):
    """A folder without a usable image, or a dataset file with a bad line."""


class RolloutServerError(TrainerError):
    """The rollout server refused a request, or could not be reached within the budget."""


class PolicyMissingError(RolloutServerError):
    """The server does not know the policy: it was restarted, or the adapter was unloaded by someone else."""


class RolloutMismatchError(TrainerError):
    """The server's token ids are not those that the training forward pass would see."""


class AdapterError(TrainerError):
    """An adapter that the server cannot serve as it was trained."""


class CanaryError(AdapterError):
    """Greedy tokens or log-probabilities of a published adapter are not those of the trainer."""


class StaleRolloutError(TrainerError):
    """Rollouts were sampled from an older version of the policy than `rollout.max_staleness` allows."""


class DivergedError(TrainerError):
    """The policy is no distribution any more."""


class ProposerError(TrainerError):
    """Too many proposals in a row hold no question."""


class ScoringError(TrainerError):
    """Too many groups in a row could not be judged, the reward server scores otherwise than before, or a reward
    variant gives no rewards."""


class RunFolderError(TrainerError):
    """A folder that holds no run, or a file of it that cannot be read or written; the message names the place."""


class ServiceError(TrainerError):
    """A service that this command started died, or was not ready in time."""
