"""An error keeps its kind and its one sentence across processes."""

import pytest
from ray import cloudpickle
from ray.exceptions import RayTaskError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback
from ray.train.v2.api.exceptions import ControllerError

from infra.errors import StorageError, UserError, as_user_errors, first_reason, is_permanent, reason_of
from infra.objects import MissingError


def crossed(error: Exception, times: int = 1) -> BaseException:
    """The error as a task raises it here, of another task, and so on."""
    for _ in range(times):
        error = cloudpickle.loads(cloudpickle.dumps(RayTaskError("task", "Traceback ...", error)))
        error = error.as_instanceof_cause()  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize("times", [0, 1, 2])
def test_the_sentence_for_users_is_the_one_that_was_raised(times: int) -> None:
    assert reason_of(crossed(UserError("the text is too long"), times)) == "the text is too long"
    assert reason_of(crossed(ValueError("clip 1 has 3 transcripts"), times)) == "clip 1 has 3 transcripts"
    assert reason_of(crossed(RuntimeError("out of memory\nand more"), times)) == "RuntimeError: out of memory"


def test_train_wraps_a_workers_error_and_its_controllers_and_both_are_found() -> None:
    worker = UserExceptionWithTraceback(crossed(UserError("lower the rates")), "Traceback ...")
    assert reason_of(worker) == reason_of(ControllerError(worker)) == "lower the rates"


def test_of_workers_that_failed_together_the_one_that_a_user_can_mend_is_named() -> None:
    others = [
        ConnectionError("peer closed"),
        crossed(ValueError("3 is not 4")),
        ConnectionError("peer closed"),
    ]
    assert first_reason(others) == "3 is not 4"
    assert first_reason([]) == "unknown"


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (UserError("the recipe's text is too long"), True),
        (ValueError("clip 1 has 3 transcripts"), True),
        (StorageError("s3://bucket: cannot be reached"), False),
        (MissingError("s3://bucket/a: not found"), False),
        (RuntimeError("Connection closed by peer"), False),
    ],
)
def test_only_what_a_user_must_mend_is_permanent(error: Exception, permanent: bool) -> None:
    assert [is_permanent(crossed(error, times)) for times in (0, 1, 2)] == [permanent] * 3


def test_inside_the_block_it_becomes_an_error_for_users() -> None:
    with pytest.raises(UserError, match=r"^the text is too long$"), as_user_errors():
        raise crossed(ValueError("the text is too long"))
