"""Scores of one or several sets of weights by the protocols of a recipe, beside chance."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from infra.errors import UserError
from infra.objects import read_bytes
from ingest.records import stable_uid
from pipeline.evaluation.cluster.embed import Gallery, Load, Models, collect, collect_here
from pipeline.evaluation.scores import Scores
from trainers.evaluation.protocol import HeldOut, Protocol
from trainers.evaluation.rounds import Collected, Found, RoundsByModel, in_rounds

START = "start"
"""Name of the weights that others are compared with."""


def evaluate(
    gallery: Gallery, models: Mapping[str, Load], protocols: Sequence[Protocol]
) -> dict[str, Scores]:
    """Score several sets of weights in one job a round; scores by name. Those named `START` are compared with."""
    return score(gallery.held_out, list(models), protocols, partial(collect, gallery, models))


def evaluate_here(
    gallery: Gallery, load: Load, protocols: Sequence[Protocol], *, threads: int, on_gpu: bool
) -> Scores:
    """Score one set of weights in this process, without Ray Data, which would take CPUs from a training."""
    models = Models.load({"given": load}, gallery.held_out, on_gpu=on_gpu, threads=threads)
    return score(gallery.held_out, ["given"], protocols, partial(collect_here, gallery, models))["given"]


def score(
    held_out: HeldOut,
    models: Sequence[str],
    protocols: Sequence[Protocol],
    collecting: Callable[[RoundsByModel], Collected],
) -> dict[str, Scores]:
    """The scores of models by name, from whatever collects what the protocols' rounds ask for."""
    used = [each for each in protocols if START in models or not each.needs_start]
    found = in_rounds(used, models, held_out, collecting)
    return {name: _scored(used, held_out, found[name], found.get(START)) for name in models}


def _scored(protocols: Sequence[Protocol], held_out: HeldOut, found: Found, start: Found | None) -> Scores:
    before = start.by_protocol if start else (None,) * len(protocols)
    each = list(zip(protocols, found.by_protocol, before, strict=True))
    return Scores(
        tuple(measured for one, own, past in each for measured in one.score(held_out, own, past)),
        found.num_clips,
        tuple(example for one, own, _ in each for example in one.examples(held_out, own)),
    )


def read_captions(uri: str, layout: str) -> dict[str, dict[str, list[str]]]:
    """The texts of a JSON file {key of the medium: {register: text or list of texts}}, by media uid.

    `layout`: of the archive the keys belong to. UserError for a file of another form.
    """
    try:
        found = json.loads(read_bytes(uri))
        return {stable_uid(layout, key): _texts(registers) for key, registers in found.items()}
    except (ValueError, AttributeError, TypeError) as error:
        form = "{key of the medium: {register: text or list of texts}}"
        raise UserError(f"{uri}: not a caption file, {form} ({error})") from error


def _texts(registers: Mapping[str, Any]) -> dict[str, list[str]]:
    listed = {name: [texts] if isinstance(texts, str) else list(texts) for name, texts in registers.items()}
    for name, texts in listed.items():
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"register {name} holds {texts!r}")
    return listed
