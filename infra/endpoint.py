"""The address of the S3 server, for messages."""

import os
from urllib.parse import urlsplit


def endpoint() -> str:
    """Where S3 is, without what may be secret in the address."""
    given = os.environ.get("AWS_ENDPOINT_URL", "")
    parts = urlsplit(given)
    if not parts.hostname:
        return given or "the S3 endpoint"
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
