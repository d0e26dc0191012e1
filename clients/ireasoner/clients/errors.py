"""The errors of the clients, in one tree.

RewardError
├── Unreachable          no connection could be made                            retried
├── TimedOut             no answer within `timeout_s`                           retried
├── ConnectionBroken     the connection ended before the whole answer arrived   retried
├── BadAnswer            the answer cannot be a reward server's answer to the request
├── ScoringChanged       the server's fingerprint of a config is not the one that it was before
├── NotReady             `wait_until_ready` passed its deadline, or the server died
├── SplitGroups          an adapter's batch does not consist of whole groups (`batches`)
├── NotJudged            an adapter needs a number, and the server judged no rollout (`judged`)
└── ServerProblem        the server answered with an error status
    ├── RequestRefused   4xx: the request is wrong; the same one would fail again
    ├── Overloaded       429: the queue is full                                 retried
    ├── Unavailable      502, 503, 504: no server can answer now                retried
    └── ServerFailed     any other 5xx: a fault of the server
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

_NOT_LISTED = re.compile(r"\d+ more faults; the first \d+ are listed$")
"""The end of a detail whose request has more faults than are listed."""


class RewardError(Exception):
    """No reward was delivered; `retryable` says whether the same request may succeed later."""

    retryable: ClassVar[bool] = False


class Unreachable(RewardError):
    """No connection to the server could be made."""

    retryable = True


class TimedOut(RewardError):
    """The server did not answer in time."""

    retryable = True


class ConnectionBroken(RewardError):
    """The connection ended before the whole answer had arrived."""

    retryable = True


class BadAnswer(RewardError):
    """The answer cannot be that of a reward server to this request.

    It has other ids, a wrong number of groups or rollouts, or values that the API does not allow; or it comes from
    another kind of server, a proxy, or another version. The message gives the address, the path and what was there.
    """


class ScoringChanged(RewardError):
    """The server scores by another config, parser or embedder than before: rewards of one run would not compare.

    Attributes:
        was: The first fingerprint of the config.
        now: The fingerprint of the answer that was refused.
    """

    def __init__(self, where: str, was: str, now: str) -> None:
        self.was = was
        self.now = now
        super().__init__(where, was, now)

    def __str__(self) -> str:
        where, was, now = self.args
        return (
            f"{where}: the scoring changed: its fingerprint is {now}, was {was}; a run needs one config, parser and "
            "embedder (a client with Fingerprints(accept_new=True) accepts the change)"
        )


class NotReady(RewardError):
    """The server was not ready by the deadline, or died before."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a request: its path in the body (`groups[0].rollouts[1].text`) and the reason."""

    place: str
    reason: str


class ServerProblem(RewardError):
    """The server answered with an error status.

    Attributes:
        status: The HTTP status.
        code: A stable name, meant for comparisons, like `malformed_request`.
        detail: One sentence for a person.
        faults: What is wrong with the request, and where; empty if nothing is.
        request_id: The id under which the server logged the request, if it sent one.
        retry_after_s: Seconds after which the server asks for a retry, or None.
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
        reasons = [f"{fault.place}: {fault.reason}" for fault in faults]
        if not any(fault.reason in detail for fault in faults):
            reasons.insert(0, detail)
        elif (left_out := _NOT_LISTED.search(detail)) is not None:
            reasons.append(left_out[0])
        super().__init__(f"{status} {code}: {'; '.join(reasons)} (request {request_id})")

    def __reduce__(self) -> tuple["partial[ServerProblem]", tuple[()]]:
        """Makes the error picklable, so that it can cross processes."""
        rebuild = partial(
            type(self),
            self.status,
            self.code,
            self.detail,
            faults=self.faults,
            request_id=self.request_id,
            retry_after_s=self.retry_after_s,
        )
        return rebuild, ()


class RequestRefused(ServerProblem):
    """4xx: the request is wrong."""


class Overloaded(ServerProblem):
    """429: the server's queue is full."""

    retryable = True


class Unavailable(ServerProblem):
    """502, 503 or 504: no server can answer now."""

    retryable = True


class ServerFailed(ServerProblem):
    """Any other 5xx: a fault of the server."""


def for_other_callers(error: BaseException) -> Exception:
    """What callers raise who wait for the work of another one: the interruption of that one is not theirs."""
    if isinstance(error, Exception):
        return error
    return RewardError(f"the call that computed this batch was interrupted: {type(error).__name__}")


def problem_class(status: int) -> type[ServerProblem]:
    """The class of error for an HTTP status of 400 or more."""
    if status == 429:
        return Overloaded
    if status in (502, 503, 504):
        return Unavailable
    return RequestRefused if status < 500 else ServerFailed
