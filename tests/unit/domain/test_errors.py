"""The error tree: stable codes, documented leaves."""

from datetime import timedelta

from domain import errors
from domain.errorlist import leaves
from domain.errors import (
    LimitReachedError,
    OrchestratorError,
    PermanentError,
    StepRefusedError,
    TransientError,
)


def test_every_class_has_a_code_of_its_own_and_stands_in_the_drawn_tree() -> None:
    classes = leaves()
    codes = [cls.code for cls in classes]

    assert len(set(codes)) == len(codes)
    assert all(cls.__name__ in (errors.__doc__ or "") for cls in classes)


def test_every_error_is_either_transient_or_permanent() -> None:
    assert all(issubclass(cls, TransientError | PermanentError) for cls in leaves())


def test_an_error_carries_its_sentence_and_its_wait() -> None:
    error = TransientError("wait", retry_after=timedelta(seconds=3))

    assert (error.message, str(error), error.retry_after) == ("wait", "wait", timedelta(seconds=3))
    assert issubclass(TransientError, OrchestratorError)


def test_refusals_and_limits_name_their_reason() -> None:
    assert StepRefusedError("no", reason="cancel_asked").reason == "cancel_asked"
    assert LimitReachedError("no", reason="max_turns").reason == "max_turns"
