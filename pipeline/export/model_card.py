"""The model card of an export: what it is and how it came about, as far as the checkpoint says."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import jinja2
from torch import nn

from infra.errors import UserError
from infra.objects import read_bytes
from pipeline.evaluation.scores import Scores
from trainers.evaluation.protocol import Declared, Measured
from trainers.models.pretrained import Usage
from trainers.models.weights.hub import is_hub_id
from trainers.recipe import Stage, Stream, Training
from trainers.system import Card, Files, System
from trainers.system_settings import SystemSettings

Metrics = Mapping[str, Mapping[str, Measured]]
"""Kind of weights -> name of a number -> the number."""


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


def model_card(origin: Origin, usage: Usage, model: nn.Module, others: Files | None, metrics: Metrics) -> str:
    """README.md of an export: YAML front matter and text. `others`: the layout, where it is not our own."""
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
    system: System = usage.system.built()
    own = f"A model of the system {usage.system.kind!r}, trained with Reelscript."
    only = len(training.stages) == 1
    card: str = template.render(
        title=f"{origin.recipe or 'A video-text model'}, step {origin.step}",
        base_model=init.partition("@")[0] if init and is_hub_id(init) else None,
        card=system.card(usage.system, usage.num_frames) if system.card else Card(own),
        pixels=usage.pixels,
        parameters=parameters(model, usage.system, others.names if others else system.exported),
        others=others,
        recipe=origin.recipe or "not recorded",
        seed=training.seed,
        commit=origin.lineage.get("commit", "not recorded"),
        start=shown_start(init),
        stage=training.stages[0].name if only else origin.lineage.get("stage"),
        step=origin.step,
        stages=[_row(stage) for stage in origin.stages],
        shards=origin.shards,
        kinds=list(metrics),
        metrics=_metrics_table(metrics),
        intervals=any(each.interval for values in metrics.values() for each in values.values()),
    )
    return card


def parameters(model: nn.Module, system: SystemSettings, names: Sequence[str]) -> dict[str, int]:
    """Number of parameters of each part, and of all, of those whose names match a shell pattern."""
    counts = dict.fromkeys(system.parts.values(), 0)
    for name, value in model.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in names):
            part = name.split(".", 1)[0]
            title = system.parts.get(part, part)
            counts[title] = counts.get(title, 0) + value.numel()
    counts = {title: count for title, count in counts.items() if count}
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
        return {kind: _numbers(scores) for kind, scores in kinds.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        form = "the evaluate.json of a run, or {metric: number}"
        raise UserError(f"{uri}: not a file of metrics, {form} ({error})") from error


def _numbers(scores: Mapping[str, Any]) -> dict[str, Measured]:
    """With their words, or, of runs that did not write these down, by their names alone."""
    if "measured" in scores:
        return Scores.from_json(scores).by_name
    return {
        str(name): Measured(Declared(str(name), label="", title=""), float(value))
        for name, value in scores["metrics"].items()
    }


def _metrics_table(metrics: Metrics) -> list[list[str]]:
    """A row per number: its name and words, then its value and, of a share of trials, its interval for every kind of
    weights."""
    declared = {name: each.declared for values in metrics.values() for name, each in values.items()}
    return [
        [
            f"{name}, {each.title}: {each.label}" if each.label else name,
            *(_cell(values.get(name)) for values in metrics.values()),
        ]
        for name, each in declared.items()
    ]


def _cell(measured: Measured | None) -> str:
    if measured is None:
        return "–"
    around = measured.interval
    return f"{measured.value:.2f}" + (f" ({around[0]:.1f} to {around[1]:.1f})" if around else "")


def _row(stage: Stage) -> dict[str, str]:
    return {
        "name": stage.name,
        "steps": f"{stage.steps:,}",
        "streams": "; ".join(_shown(stream) for stream in stage.streams),
        "frozen": _frozen(stage),
    }


def _frozen(stage: Stage) -> str:
    below = [f"{count} lowest blocks of {tower}" for tower, count in stage.frozen_below.items() if count]
    kept = [] if stage.train == ("*",) else [f"all but {', '.join(stage.train)}"]
    return ", ".join([*kept, *below, *stage.freeze]) or "nothing"


def _shown(stream: Stream) -> str:
    objectives = " + ".join(f"{weight:g} x {name}" for name, weight in stream.objectives.items())
    return f"{stream.name}, {stream.batch_size} clips a step: {objectives}"
