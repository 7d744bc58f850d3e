"""Which files a place means: a file, a folder, a URI, or a repository of the hub."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from infra.errors import UserError
from infra.objects import MissingError, join, list_files
from trainers.models.weights.hub import Wanted, fetch, is_hub_id

_FIRST = ("model.safetensors", "open_clip_model.safetensors")
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_THEN = ("pytorch_model.bin", "open_clip_pytorch_model.bin")
_KINDS = (".safetensors", ".pth", ".pt", ".bin")


def files_at(place: str, wanted: Wanted) -> dict[str, str]:
    """{name: URI} of the files that `wanted` picks at a place; of a place that is a file, that file.

    UserError where there is nothing, or not what is wanted.
    """
    if is_hub_id(place):
        return fetch(place, wanted)
    found = list_files(place)
    if not found:
        raise MissingError(f"{place}: not found")
    if found == [place]:
        return {PurePosixPath(place).name: place}
    names = [uri.removeprefix(place.rstrip("/")).strip("/") for uri in found]
    return {name: join(place, name) for name in wanted([name for name in names if "/" not in name])}


def weight_files(place: str, names: Sequence[str]) -> list[str]:
    """Among the files of a folder, those that hold the weights: whole before in parts, safetensors before pickles.

    UserError where there are none, or several that nothing tells apart.
    """
    for name in _FIRST:
        if name in names:
            return [name]
    if shards := sorted(name for name in names if _SHARD.fullmatch(name)):
        return shards
    for name in _THEN:
        if name in names:
            return [name]
    others = [name for name in names if name.endswith(_KINDS)]
    if len(others) > 1:
        raise UserError(f"{place} holds several files of weights, {', '.join(others)}: name one of them")
    if not others:
        raise UserError(f"{place} holds no weights: no file ends in {', '.join(_KINDS)}")
    return others
