"""An error keeps its one sentence across processes."""

from infra.errors import sentence_in


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
