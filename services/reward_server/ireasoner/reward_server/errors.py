"""Every way in which the server can fail a caller, with its HTTP status, stable code and use of a retry.

    ServiceError
    ├── RequestError            the request is at fault; the same one will fail again
    │   ├── MalformedRequest    422 malformed_request
    │   ├── Unauthorized        401 unauthorized
    │   ├── BodyTooSlow         408 body_too_slow
    │   ├── NotJudged           422 not_judged
    │   ├── RequestTooLarge     413 request_too_large
    │   ├── NoSuchPage          404 no_such_page
    │   ├── NoSuchConfig        404 no_such_config
    │   ├── ConfigInUse         409 config_in_use
    │   ├── TooManyConfigs      409 too_many_configs
    │   └── MethodNotAllowed    405 method_not_allowed
    ├── Overloaded              429 overloaded           retry
    ├── NotReady                503 not_ready            retry
    ├── ConfigNotSaved          503 config_not_saved     retry
    ├── EmbeddingFailed         503 embedding_failed     retry
    ├── FormulasUnavailable     503 formulas_unavailable retry
    ├── DeadlineExceeded        504 deadline_exceeded    retry
    ├── CallerGone              499 caller_gone          seen in logs and metrics only
    └── InternalError           500 internal_error

What is raised inside is one of these, or a bug; a bug is logged with its traceback and answered as
InternalError. A reward that could not be computed is one of these or the status `abstain`, never 0.
"""

from typing import ClassVar

from ireasoner.reward_server.wire import Fault


class ServiceError(Exception):
    """Something that a caller is told of as an RFC 9457 problem."""

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
    """The body is not what the wire says; `faults` tells the places and the reasons."""

    status, code, title = 422, "malformed_request", "The request is malformed"


class NotJudged(RequestError):
    """No rollout of a cohort could be judged, and its caller has no word for "no opinion"."""

    status, code, title = 422, "not_judged", "The group could not be judged"


class RequestTooLarge(RequestError):
    """The request is larger than this server will ever take."""

    status, code, title = 413, "request_too_large", "The request is too large"


class Unauthorized(RequestError):
    """The request has no token that this server knows."""

    status, code, title = 401, "unauthorized", "A token is needed"


class BodyTooSlow(RequestError):
    """The body did not arrive in time."""

    status, code, title = 408, "body_too_slow", "The body came too slowly"


class NoSuchPage(RequestError):
    """There is nothing under this path."""

    status, code, title = 404, "no_such_page", "There is nothing here"


class MethodNotAllowed(RequestError):
    """The path exists, but not for this method."""

    status, code, title = 405, "method_not_allowed", "The method is not allowed"


class NoSuchConfig(RequestError):
    """No config is registered under this name."""

    status, code, title = 404, "no_such_config", "There is no config of this name"


class ConfigInUse(RequestError):
    """The name was used for scoring, and what it means cannot change any more."""

    status, code, title = 409, "config_in_use", "The name of the config is in use"


class TooManyConfigs(RequestError):
    """No more configs are registered."""

    status, code, title = 409, "too_many_configs", "There are too many configs"


class Overloaded(ServiceError):
    """The queue is full; nothing of the request was taken."""

    status, code, title, retryable = 429, "overloaded", "The queue is full", True


class NotReady(ServiceError):
    """The embedder is not warm yet, or its last pass failed."""

    status, code, title, retryable = 503, "not_ready", "The server is not ready", True


class ConfigNotSaved(ServiceError):
    """The folder of configs could not be written, so a name would not keep its meaning."""

    status, code, title, retryable = 503, "config_not_saved", "The config could not be saved", True


class EmbeddingFailed(ServiceError):
    """The pass that this request's texts were in failed; other requests are not touched."""

    status, code, title, retryable = 503, "embedding_failed", "The texts could not be embedded", True


class FormulasUnavailable(ServiceError):
    """The process that compares formulas does not start, or gets no processor time."""

    status, code, title, retryable = 503, "formulas_unavailable", "Formulas cannot be compared", True


class DeadlineExceeded(ServiceError):
    """The request was not scored in time; what of it was still waiting was dropped."""

    status, code, title, retryable = 504, "deadline_exceeded", "The request took too long", True


class CallerGone(ServiceError):
    """The caller closed the connection before it was answered; what of it was still waiting was dropped."""

    status, code, title = 499, "caller_gone", "The caller has gone"


class InternalError(ServiceError):
    """A bug of this server; the log has the traceback under the request's id."""

    code, title = "internal_error", "The server failed"
