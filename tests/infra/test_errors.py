"""An error keeps its one sentence across processes."""

import pytest

from infra.errors import is_permanent, sentence_in


def test_the_sentence_for_users_is_found_in_an_error_that_crossed_processes() -> None:
    crossed = """Traceback (most recent call last):
  File "rows.py", line 7, in _texts
ValueError: clip 1 has 3 transcripts

The above exception was the direct cause of the following exception:

ray.exceptions.RayTaskError(UserCodeException): UDF failed to process a data block.
If you believe this to be transient, configure retries."""
    assert sentence_in(crossed) == "clip 1 has 3 transcripts"
    assert sentence_in("  File x\nRuntimeError: out of memory") == "RuntimeError: out of memory"
    assert sentence_in("killed\n") == "killed"


@pytest.mark.parametrize(
    ("line", "permanent"),
    [
        ("infra.errors.UserError: the recipe's text is too long", True),
        ("ValueError: clip 1 has 3 transcripts", True),
        ("infra.errors.StorageError: s3://bucket: cannot be reached", False),
        ("infra.errors.MissingError: s3://bucket/a: not found", False),
        ("RuntimeError: Connection closed by peer", False),
        ("ValueError: first\n\nDuring handling of the above exception:\nConnectionError: then", False),
    ],
)
def test_only_what_a_user_must_mend_is_permanent(line: str, permanent: bool) -> None:
    crossed = (
        f"Traceback (most recent call last):\n{line}\nray.exceptions.RayTaskError(UserCodeException): failed"
    )
    assert is_permanent(crossed) is permanent
