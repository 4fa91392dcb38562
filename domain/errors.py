"""Every failure the product can name, as one tree. Knows nothing of HTTP or Temporal.

OrchestratorError
├── TransientError                 a retry may help; may carry `retry_after`
│   ├── StoreUnavailableError      store_unavailable
│   │   └── StoreFullError         store_full
│   ├── EngineUnavailableError     engine_unavailable
│   ├── QueueFullError             queue_full
│   ├── DrainingError              draining
│   ├── RateLimitedError           rate_limited           (a caller of ours)
│   ├── ModelError
│   │   ├── ModelRateLimitedError  model_rate_limited
│   │   ├── ModelUnavailableError  model_unavailable
│   │   ├── ModelTimeoutError      model_timeout
│   │   ├── StreamIncompleteError  stream_incomplete
│   │   └── MalformedReplyError    malformed_reply
│   ├── CircuitOpenError           circuit_open
│   ├── AgentUnavailableError      agent_unavailable
│   └── InternalError              internal_error
└── PermanentError                 a retry will not help
    ├── InvalidRequestError        invalid_request
    │   ├── NotSupportedError      not_supported
    │   └── RequestTooLargeError   request_too_large
    ├── UnauthorizedError          unauthorized
    ├── ForbiddenError             forbidden
    │   └── DispatchRefusedError   dispatch_refused
    ├── NotFoundError              not_found
    ├── ConflictError              conflict
    │   ├── SessionBusyError       session_busy
    │   ├── IdempotencyKeyConflictError  idempotency_key_conflict
    │   ├── RunTerminalError       run_terminal
    │   ├── ForkRefusedError       fork_refused
    │   ├── OutcomeUnknownError    outcome_unknown
    │   ├── ApprovalDecidedError   approval_decided
    │   ├── ApprovalExpiredError   approval_expired
    │   ├── RequestTakenError      request_taken
    │   ├── RequestExpiredError    request_expired
    │   ├── DispatchSupersededError  dispatch_superseded
    │   └── ToolCallSettledError   tool_call_settled
    ├── ModelNotConfiguredError    model_not_configured
    ├── ModelRequestError          model_bad_request
    ├── ModelAuthError             model_auth
    ├── ReplyTooLargeError         reply_too_large
    ├── AgentFailedError           agent_error
    ├── ToolFailedError            tool_error
    ├── AddressRefusedError        address_refused
    ├── BudgetExhaustedError       budget_exhausted
    ├── PriceUnknownError          price_unknown
    ├── EngineMismatchError        engine_mismatch
    ├── SetupError                 setup_failed
    ├── LimitReachedError          limit_reached   (max_turns, max_tool_calls, ...)
    ├── DeadlineExceededError      deadline_exceeded
    └── StepRefusedError           step_refused    (cancel_asked, superseded, ...)
"""

from datetime import timedelta
from typing import ClassVar

from domain.refusal import FirstAnswer, ProviderRefusal


class OrchestratorError(Exception):
    """A failure with a stable `code` and a sentence that says what, which id and what to do."""

    code: ClassVar[str] = "internal_error"

    def __init__(
        self, message: str, *, retry_after: timedelta | None = None, field: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.field = field
        """What in the request is to blame: a field of its body, or `query.` and a parameter."""
        self.refusal: ProviderRefusal | None = None
        """What a model's provider said when it refused a request."""


class TransientError(OrchestratorError):
    """A retry may help. `retry_after`, when set, is the shortest useful wait."""

    code = "temporarily_unavailable"


class PermanentError(OrchestratorError):
    """A retry of the same request will fail in the same way."""

    code = "rejected"


class StoreUnavailableError(TransientError):
    """The store cannot be reached or is locked; nothing of the refused write was kept."""

    code = "store_unavailable"


class StoreFullError(StoreUnavailableError):
    """The disk under the store is full; writes work again once space is freed."""

    code = "store_full"


class EngineUnavailableError(TransientError):
    """The Temporal server cannot be reached; accepted runs start when it is back."""

    code = "engine_unavailable"


class QueueFullError(TransientError):
    """Too many runs are in flight; nothing was accepted."""

    code = "queue_full"


class DrainingError(TransientError):
    """This process is shutting down and takes no new work."""

    code = "draining"


class RateLimitedError(TransientError):
    """The caller sent more requests than its key or address may."""

    code = "rate_limited"


class ModelError(TransientError):
    """A model call failed in a way that another attempt may mend."""

    code = "model_error"


class ModelRateLimitedError(ModelError):
    """The provider answered 429."""

    code = "model_rate_limited"


class ModelUnavailableError(ModelError):
    """The provider could not be reached or answered 5xx."""

    code = "model_unavailable"


class ModelTimeoutError(ModelError):
    """No meaningful event arrived from the provider in time."""

    code = "model_timeout"


class StreamIncompleteError(ModelError):
    """The stream ended without the provider's terminal marker; its text is not an answer."""

    code = "stream_incomplete"


class MalformedReplyError(ModelError):
    """The provider sent something that is not its own wire format."""

    code = "malformed_reply"


class CircuitOpenError(TransientError):
    """The model or agent failed too often just now; it is asked again after a cool-down."""

    code = "circuit_open"


class AgentUnavailableError(TransientError):
    """An external agent could not be reached, timed out or ended its stream early."""

    code = "agent_unavailable"
    is_busy = False
    """It said that it has no time now, which is no fault."""


class InternalError(TransientError):
    """Something failed that nobody foresaw; the log has the traceback."""

    code = "internal_error"


class InvalidRequestError(PermanentError):
    """The request is malformed or breaks a rule of its schema."""

    code = "invalid_request"


class NotSupportedError(InvalidRequestError):
    """The field or value is documented but not served by this release."""

    code = "not_supported"


class RequestTooLargeError(InvalidRequestError):
    """The request body exceeds the configured limit."""

    code = "request_too_large"


class UnauthorizedError(PermanentError):
    """No credential, or one that is unknown, expired or revoked."""

    code = "unauthorized"


class ForbiddenError(PermanentError):
    """The credential lacks the scope this needs."""

    code = "forbidden"


class DispatchRefusedError(ForbiddenError):
    """The token was not given out for this tool call."""

    code = "dispatch_refused"


class NotFoundError(PermanentError):
    """No such object for this owner."""

    code = "not_found"


class ConflictError(PermanentError):
    """The object's state does not allow this."""

    code = "conflict"


class SessionBusyError(ConflictError):
    """Another run holds the session and the caller asked not to queue."""

    code = "session_busy"


class IdempotencyKeyConflictError(ConflictError):
    """The Idempotency-Key was used before with another body."""

    code = "idempotency_key_conflict"


class RunTerminalError(ConflictError):
    """The run has ended; nothing can be added to it."""

    code = "run_terminal"


class ForkRefusedError(ConflictError):
    """The run cannot be forked or retried there; the message says why and what can be done."""

    code = "fork_refused"


class OutcomeUnknownError(ConflictError):
    """Nobody knows what a tool call did that would be kept; a person resolves it first."""

    code = "outcome_unknown"


class ApprovalDecidedError(ConflictError):
    """The approval was decided before; the first answer counts, and `first` says whose that is."""

    code = "approval_decided"

    def __init__(self, approval_id: str, first: FirstAnswer) -> None:
        super().__init__(f"approval {approval_id} was {first.decision} by {first.decided_by}")
        self.first = first


class ApprovalExpiredError(ConflictError):
    """The time of the approval is over; what was configured for that happens."""

    code = "approval_expired"


class RequestTakenError(ConflictError):
    """Another client holds the call; it is free again when that one's lease ends."""

    code = "request_taken"


class RequestExpiredError(ConflictError):
    """The time to answer the call is over; the model was told so."""

    code = "request_expired"


class DispatchSupersededError(ConflictError):
    """The call was handed to another client since this token was given out."""

    code = "dispatch_superseded"


class ToolCallSettledError(ConflictError):
    """The call has an outcome already, or a person has to resolve it; nothing was changed."""

    code = "tool_call_settled"


class ModelNotConfiguredError(PermanentError):
    """The model's provider is unknown or has no credentials here."""

    code = "model_not_configured"


class ModelRequestError(PermanentError):
    """The provider refused the request itself (4xx other than 401, 403, 408, 409, 429)."""

    code = "model_bad_request"


class ModelAuthError(PermanentError):
    """The provider refused our credentials."""

    code = "model_auth"


class ReplyTooLargeError(PermanentError):
    """A reply or tool result went past its configured size."""

    code = "reply_too_large"


class AgentFailedError(PermanentError):
    """An external agent reported an error or broke its protocol."""

    code = "agent_error"
    is_answer = False
    """It said by its protocol that it cannot do this: it works."""


class ToolFailedError(PermanentError):
    """A tool says that it failed and that nothing happened; the model may read the message."""

    code = "tool_error"


class AddressRefusedError(PermanentError):
    """A URL leads to an address, port or scheme that may not be contacted."""

    code = "address_refused"


class BudgetExhaustedError(PermanentError):
    """A budget or a cap does not cover the call; the message says which."""

    code = "budget_exhausted"
    degrades = False  # whether the budget lets a cheaper model be asked


class PriceUnknownError(PermanentError):
    """A cap in money counts and nobody knows what the model costs; give it a price."""

    code = "price_unknown"


class EngineMismatchError(PermanentError):
    """The Temporal cluster is not the one this store belongs to."""

    code = "engine_mismatch"


class SetupError(PermanentError):
    """The process cannot start as configured."""

    code = "setup_failed"


class LimitReachedError(PermanentError):
    """A cap of the run was reached. `reason` names which one."""

    code = "limit_reached"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class DeadlineExceededError(PermanentError):
    """The run's deadline passed before it was done."""

    code = "deadline_exceeded"


class StepRefusedError(PermanentError):
    """The fence refused an opening or a write. `reason` says why.

    Reasons: `run_terminal`, `cancel_asked`, `superseded` (an older execution or attempt),
    `poison_step`, `max_cost_usd`, `price_unknown`, `approval_mismatch` (the arguments are not those
    that were approved).
    """

    code = "step_refused"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
