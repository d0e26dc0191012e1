"""What can go wrong between a caller and the reward server.

RewardError
├── Unreachable          no connection could be made                         retried
├── TimedOut             connected, but no answer within `timeout_s`         retried
├── ConnectionBroken     the connection ended in the middle of an exchange   retried
├── BadAnswer            the server answered with something that is not the wire
├── NotReady             `wait_until_ready` ended without a ready server
└── ServerProblem        the server answered with an error
    ├── RequestRefused   4xx: the request itself is at fault; sending it again cannot help
    ├── Overloaded       429                                                 retried
    ├── Unavailable      502, 503, 504                                       retried
    └── ServerFailed     any other 5xx
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar


class RewardError(Exception):
    """Anything that kept a reward from being delivered; `retryable` if the same request may pass later."""

    retryable: ClassVar[bool] = False


class Unreachable(RewardError):
    """No connection to the server could be made."""

    retryable = True


class TimedOut(RewardError):
    """The server took the request and did not answer in time."""

    retryable = True


class ConnectionBroken(RewardError):
    """The connection ended before the whole answer had arrived."""

    retryable = True


class BadAnswer(RewardError):
    """The server's answer is not what the wire says; is it a reward server of this version?"""


class NotReady(RewardError):
    """The server was not ready by the deadline, or died while it was waited for."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request: where (`groups[0].rollouts[1].text`) and why."""

    place: str
    reason: str


class ServerProblem(RewardError):
    """The server answered with an error.

    `code` is stable and fit for a comparison; `faults` says what was wrong where, if the request was;
    `retry_after_s` is what the server asked for, in seconds, or None.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        faults: tuple[Fault, ...] = (),
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.faults = faults
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        told = [f"{fault.place}: {fault.reason}" for fault in faults]
        if not any(fault.reason in detail for fault in faults):
            told.insert(0, detail)
        super().__init__(f"{status} {code}: {'; '.join(told)} (request {request_id})")

    def __reduce__(self) -> tuple["partial[ServerProblem]", tuple[()]]:
        """So that one process can tell another of it."""
        told = partial(
            type(self),
            self.status,
            self.code,
            self.detail,
            faults=self.faults,
            request_id=self.request_id,
            retry_after_s=self.retry_after_s,
        )
        return told, ()


class RequestRefused(ServerProblem):
    """4xx: the request is at fault."""


class Overloaded(ServerProblem):
    """429: the server's queue is full."""

    retryable = True


class Unavailable(ServerProblem):
    """502, 503 or 504: nobody is there to answer now."""

    retryable = True


class ServerFailed(ServerProblem):
    """Any other 5xx: the server is at fault."""


def problem_class(status: int) -> type[ServerProblem]:
    """The class of the error that an HTTP status of 400 or more stands for."""
    if status == 429:
        return Overloaded
    if status in (502, 503, 504):
        return Unavailable
    return RequestRefused if status < 500 else ServerFailed
