"""Every way in which the server can fail a caller, with its HTTP status, stable code and use of a retry.

    ServiceError
    ├── RequestError            the request is at fault; the same request fails again
    │   ├── MalformedRequest    422 malformed_request
    │   ├── Unauthorized        401 unauthorized
    │   ├── BodyTooSlow         408 body_too_slow
    │   ├── NotJudged           422 not_judged
    │   ├── RequestTooLarge     413 request_too_large
    │   ├── NoSuchRoute         404 no_such_page
    │   ├── NoLedger            404 no_ledger
    │   ├── NoSuchConfig        404 no_such_config
    │   ├── NoSuchRecord        404 no_such_record
    │   ├── ConfigInUse         409 config_in_use
    │   ├── TooManyConfigs      409 too_many_configs
    │   ├── ConfigUnreadable    409 config_unreadable
    │   ├── HeadTooLarge        431 head_too_large
    │   └── MethodNotAllowed    405 method_not_allowed
    ├── Overloaded              429 overloaded           retry
    ├── NotReady                503 not_ready            retry
    ├── ConfigNotSaved          503 config_not_saved     retry
    ├── LedgerUnavailable       503 ledger_unavailable   retry
    ├── EmbeddingFailed         503 embedding_failed     retry
    ├── FormulasUnavailable     503 formulas_unavailable retry
    ├── LedgerUnreadable        503 ledger_unreadable    retry
    ├── DeadlineExceeded        504 deadline_exceeded    retry
    ├── CallerGone              499 caller_gone          appears in logs and metrics only
    └── InternalError           500 internal_error

Code raises one of these; any other exception is a bug, logged with its traceback and answered as InternalError.
A reward that could not be computed is one of these or the status `abstain`, never 0. The docstring of each
class is its entry in the API's table of errors.
"""

from typing import ClassVar, Self

from ireasoner.reward_server.wire import Fault


class ServiceError(Exception):
    """An error that the caller receives as an RFC 9457 problem.

    Args:
        detail: What is wrong with this request.
        faults: Where in the request, and why.
        retry_after_s: Seconds to wait before a retry.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str]
    title: ClassVar[str]
    retryable: ClassVar[bool] = False

    def __init__(
        self, detail: str, *, faults: tuple[Fault, ...] = (), retry_after_s: int | None = None
    ) -> None:
        self.detail = detail
        self.faults = faults
        self.retry_after_s = retry_after_s
        super().__init__(detail)


class RequestError(ServiceError):
    """The request is at fault."""

    status = 400


class MalformedRequest(RequestError):
    """The body, a header or a parameter is invalid; `errors` lists where and why."""

    status, code, title = 422, "malformed_request", "The request is malformed"

    @classmethod
    def at(cls, place: str, reason: str) -> Self:
        """The error of a single fault, which its detail names."""
        return cls(f"{place}: {reason}", faults=(Fault(place=place, reason=reason),))


class NotJudged(RequestError):
    """No rollout of the cohort could be judged, and cohort protocols cannot express an abstention."""

    status, code, title = 422, "not_judged", "The group could not be judged"


class RequestTooLarge(RequestError):
    """The request exceeds a limit on bytes, groups, rollouts, steps, characters, JSON values or memory."""

    status, code, title = 413, "request_too_large", "The request is too large"


class Unauthorized(RequestError):
    """The request has no token, or one that this server does not know."""

    status, code, title = 401, "unauthorized", "A token is needed"


class BodyTooSlow(RequestError):
    """The body did not arrive within 30 seconds."""

    status, code, title = 408, "body_too_slow", "The body arrived too slowly"


class NoSuchRoute(RequestError):
    """No endpoint has this path."""

    status, code, title = 404, "no_such_page", "There is no endpoint here"


class MethodNotAllowed(RequestError):
    """The endpoint does not support this method; the header `Allow` lists those that it supports."""

    status, code, title = 405, "method_not_allowed", "The method is not allowed"


class NoSuchConfig(RequestError):
    """No config is registered under this name."""

    status, code, title = 404, "no_such_config", "There is no config of this name"


class NoLedger(RequestError):
    """This server keeps no ledger; its operator can turn it on with `--ledger`."""

    status, code, title = 404, "no_ledger", "There is no ledger"


class NoSuchRecord(RequestError):
    """The ledger has nothing of this name that the caller may see: it was evicted, never was, or is another's."""

    status, code, title = 404, "no_such_record", "There is no such record"


class ConfigInUse(RequestError):
    """The name belongs to a preset, to all experiments, or was used for scoring, so its config is fixed."""

    status, code, title = 409, "config_in_use", "The name of the config is in use"


class TooManyConfigs(RequestError):
    """The experiment has as many configs as it may register."""

    status, code, title = 409, "too_many_configs", "There are too many configs"


class ConfigUnreadable(RequestError):
    """The config of this name was saved by another version of the server; register it under another name."""

    status, code, title = 409, "config_unreadable", "The saved config cannot be read"


class HeadTooLarge(RequestError):
    """The path and the headers have more than 64 KiB."""

    status, code, title = 431, "head_too_large", "The headers are too large"


class Overloaded(ServiceError):
    """The queue is full, or requests in progress take too much memory; nothing of this request was queued."""

    status, code, title, retryable = 429, "overloaded", "The server is overloaded", True


class NotReady(ServiceError):
    """The embedder is loading or failing, or the server is shutting down."""

    status, code, title, retryable = 503, "not_ready", "The server is not ready", True


class ConfigNotSaved(ServiceError):
    """The folder of configs cannot be written, so the name would not keep its meaning or not be gone."""

    status, code, title, retryable = 503, "config_not_saved", "The config could not be saved", True


class LedgerUnavailable(ServiceError):
    """The ledger cannot be written now, or has too much to write; scoring goes on."""

    status, code, title, retryable = 503, "ledger_unavailable", "The ledger cannot be written", True


class EmbeddingFailed(ServiceError):
    """The forward pass with this request's texts failed; other requests are not affected."""

    status, code, title, retryable = 503, "embedding_failed", "The texts could not be embedded", True


class FormulasUnavailable(ServiceError):
    """The process that compares formulas does not start, or gets no processor time."""

    status, code, title, retryable = 503, "formulas_unavailable", "Formulas cannot be compared", True


class LedgerUnreadable(ServiceError):
    """The ledger's file cannot be read now; scoring does not depend on it."""

    status, code, title, retryable = 503, "ledger_unreadable", "The ledger cannot be read", True


class DeadlineExceeded(ServiceError):
    """The request was not answered within its deadline; its remaining work was dropped."""

    status, code, title, retryable = 504, "deadline_exceeded", "The request took too long", True


class CallerGone(ServiceError):
    """The caller closed the connection before the response; the remaining work was dropped."""

    status, code, title = 499, "caller_gone", "The caller has gone"


class InternalError(ServiceError):
    """A bug of this server; its log has the traceback under the request id."""

    code, title = "internal_error", "The server failed"


def answered_errors() -> list[type[ServiceError]]:
    """Every error that a caller can receive, by status."""
    kinds = [*RequestError.__subclasses__(), *ServiceError.__subclasses__()]
    return sorted(
        (kind for kind in kinds if kind not in (RequestError, CallerGone)), key=lambda kind: kind.status
    )
