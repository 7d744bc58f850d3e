"""Files of a repository on the Hugging Face hub, downloaded once into the hub's own cache.

Every process that needs them asks; the cache has locks, so one downloads and the others wait. HF_TOKEN, HF_HUB_CACHE,
HF_HUB_OFFLINE and HF_ENDPOINT work as everywhere. The hub's library is imported by whoever asks it: every process that
knows of models passes here, and few ask.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.errors import UserError

Wanted = Callable[[Sequence[str]], Sequence[str]]
"""Picks, among the names of the files in a folder, those that are needed; raises UserError where they are absent."""

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?")
_FILES = (".safetensors", ".pt", ".pth", ".bin")
_TIMEOUT_S = 20.0


def is_hub_id(place: str) -> bool:
    """Whether this is `owner/name` or `owner/name@revision`, and no file or folder of that name is here."""
    return bool(_HUB_ID.fullmatch(place)) and not place.endswith(_FILES) and not Path(place).exists()


def fetch(hub_id: str, wanted: Wanted) -> dict[str, str]:
    """{name: path in the cache} of the files that `wanted` picks; without the hub, of what the cache holds.

    UserError: no such repository or revision, or neither the hub can be reached nor the cache has it.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    repository, _, named = hub_id.partition("@")
    revision, hub = named or None, HfApi()
    try:
        found = hub.model_info(repository, revision=revision, timeout=_TIMEOUT_S).siblings or ()
        names = wanted([file.rfilename for file in found])
        return {name: hub.hf_hub_download(repository, name, revision=revision) for name in names}
    except UserError:
        raise
    except GatedRepoError as error:
        raise UserError(
            f"{hub_id}: its owner grants access one by one; ask on its page, then set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"{hub_id} is no file here and no repository on {constants.ENDPOINT} (a private one needs HF_TOKEN)"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{hub_id}: the repository has no revision {named!r}") from error
    except Exception as error:  # of the HTTP client, and which one that is changes with the hub's library
        return _cached(hub_id, repository, revision, wanted, error)


def _cached(
    hub_id: str, repository: str, revision: str | None, wanted: Wanted, reason: Exception
) -> dict[str, str]:
    from huggingface_hub import HfApi, constants

    try:  # no pattern: whatever is there
        folder = HfApi().snapshot_download(
            repository, revision=revision, local_files_only=True, allow_patterns=[]
        )
    except Exception as error:
        raise UserError(
            f"{hub_id} is no file here, {constants.ENDPOINT} cannot be reached ({type(reason).__name__}), and the "
            f"cache {constants.HF_HUB_CACHE} does not hold it"
        ) from error
    names = wanted(sorted(path.name for path in Path(folder).iterdir()))
    return {name: str(Path(folder, name)) for name in names}
