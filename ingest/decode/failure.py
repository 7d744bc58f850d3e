"""Why a file cannot be used, as a fixed word."""

from typing import Literal, get_args

Reason = Literal[
    "missing",  # nothing at its address
    "empty",  # zero bytes
    "not_media",  # no container or image format we know
    "truncated",  # the file ends before its content does
    "no_video",  # a container without a video track
    "wrong_length",  # the header claims another length than the packets have
    "too_large",  # pictures beyond the limit
    "undecodable",  # the decoder gives up
    "unsupported",  # this decoder cannot read this file
    "timeout",  # the deadline passed
    "memory",  # the memory limit was reached
    "crashed",  # the decoding process died, twice
]
REASONS: frozenset[str] = frozenset(get_args(Reason))


class MediaError(Exception):
    """A file that cannot be used: a fixed reason and the detail for people."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason: Reason = reason
        self.detail = detail
