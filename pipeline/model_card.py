"""The model card of an export: what it is and how it came about, as far as the checkpoint says."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

import jinja2
from torch import nn

from infra.errors import UserError
from infra.objects import read_bytes
from trainers.models.pretrained import Usage
from trainers.models.weights.hub import is_hub_id
from trainers.recipe import Stage, Stream, Training

Layout = Literal["reelscript", "tvtsv2"]
Metrics = Mapping[str, Mapping[str, float]]
"""Kind of weights -> metric -> value."""


@dataclass(frozen=True)
class Origin:
    """What a checkpoint says of its weights."""

    recipe: str
    """Name of the recipe; empty where the checkpoint was made without one."""
    training: Training
    lineage: Mapping[str, str]
    step: int
    """Optimiser steps of the last stage."""

    @staticmethod
    def of(training: Training, lineage: Mapping[str, str], step: int) -> "Origin":
        """ValueError for a lineage whose recipe cannot be read."""
        recipe = json.loads(lineage.get("recipe", "{}"))
        return Origin(str(recipe.get("name", "")), training, lineage, step)

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages up to the one that the weights come from; all, where that is not recorded."""
        names = [stage.name for stage in self.training.stages]
        last = self.lineage.get("stage")
        return self.training.stages[: names.index(last) + 1] if last in names else self.training.stages

    @property
    def shards(self) -> dict[str, str]:
        """Stream -> digest of its ledger."""
        ledgers = {name.partition("ledger/")[2]: digest for name, digest in self.lineage.items()}
        return {stream: digest for stream, digest in sorted(ledgers.items()) if stream}


def model_card(origin: Origin, usage: Usage, model: nn.Module, layout: Layout, metrics: Metrics) -> str:
    """README.md of an export: YAML front matter and text."""
    text = files("pipeline").joinpath("templates", "model_card.md.j2").read_text(encoding="utf-8")
    template = jinja2.Template(
        text,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    training = origin.training
    init = training.init
    only = len(training.stages) == 1
    card: str = template.render(
        title=f"{origin.recipe or 'A video-text model'}, step {origin.step}",
        base_model=init.partition("@")[0] if init and is_hub_id(init) else None,
        model=usage.model,
        pixels=usage.pixels,
        frames=usage.num_frames,
        parameters=parameters(model, sorting_head=layout == "reelscript"),
        layout=layout,
        recipe=origin.recipe or "not recorded",
        seed=training.seed,
        commit=origin.lineage.get("commit", "not recorded"),
        start=shown_start(init),
        stage=training.stages[0].name if only else origin.lineage.get("stage"),
        step=origin.step,
        stages=[_row(stage) for stage in origin.stages],
        shards=origin.shards,
        metrics=metrics,
        metric_names=list(dict.fromkeys(name for values in metrics.values() for name in values)),
    )
    return card


def parameters(model: nn.Module, sorting_head: bool) -> dict[str, int]:
    """Number of parameters of each part, and of all."""
    names = {"video": "video tower", "text": "text tower", "sorting": "sorting head (training only)"}
    counts = {
        title: sum(value.numel() for value in model.get_submodule(name).parameters())
        for name, title in names.items()
        if sorting_head or name != "sorting"
    }
    return {**counts, "all": sum(counts.values())}


def shown_start(init: str | None) -> str:
    """The start weights in words; of a file on somebody's disk only its name."""
    if init is None:
        return "none, trained from fresh weights"
    return init if urlsplit(init).scheme or is_hub_id(init) else PurePosixPath(init).name


def read_metrics(uri: str) -> Metrics:
    """The metrics of an evaluation: steps/seed-N/evaluate.json below a run's output, or {metric: number}.

    UserError for a file of another form.
    """
    try:
        found = json.loads(read_bytes(uri))
        kinds = found.get("result", {"this model": {"metrics": found}})
        return {kind: _numbers(scores["metrics"]) for kind, scores in kinds.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        form = "the evaluate.json of a run, or {metric: number}"
        raise UserError(f"{uri}: not a file of metrics, {form} ({error})") from error


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in metrics.items()}


def _row(stage: Stage) -> dict[str, str]:
    return {
        "name": stage.name,
        "steps": f"{stage.steps:,}",
        "streams": "; ".join(_shown(stream) for stream in stage.streams),
        "frozen": ", ".join([str(stage.frozen_text_blocks), *stage.freeze]),
    }


def _shown(stream: Stream) -> str:
    objectives = " + ".join(f"{weight:g} x {name}" for name, weight in stream.objectives.items())
    return f"{stream.name}, {stream.batch_size} clips a step: {objectives}"
