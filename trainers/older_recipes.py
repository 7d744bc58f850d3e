"""What older versions wrote, as this one reads it: recipes of checkpoints, configs of exports.

Version 1 knew one system, TVTSv2, and spelt its objectives, rates and frozen blocks as fields of a stage.
"""

from collections.abc import Mapping
from typing import Any

VERSION = 2
"""Of recipes beside weights; version 1 did not say its number."""
NEW = ("video.blocks.*.timeattn.*", "video.blocks.*.ln_3.*", "sorting.*")
UNDECAYED = ("*bias*", "*ln_*", "*norm*")
TEXT_EMBEDDINGS = ("text.token_embedding.weight", "text.positional_embedding")
"""What version 1 meant by its names; what TVTSv2's recipes say today may change."""

Values = dict[str, Any]


def is_older(recipe: Mapping[str, Any]) -> bool:
    """Whether the plain values of a training are of version 1."""
    return "version" not in recipe


def current(recipe: Mapping[str, Any]) -> Values:
    """The plain values of a training, of any version that was ever written, in the words of this one.

    ValueError for a later version. What cannot be understood is left for whoever reads the fields.
    """
    if not is_older(recipe):
        if recipe["version"] != VERSION:
            raise ValueError(f"it is of version {recipe['version']!r}, but this Reelscript reads {VERSION}")
        return {name: value for name, value in recipe.items() if name != "version"}
    found = current_usage(recipe)
    if isinstance(stages := found.get("stages"), list):
        found["stages"] = [_stage(stage) for stage in stages]
    return found


def current_usage(config: Mapping[str, Any]) -> Values:
    """What an export of version 1 says of its model, in the words of this version."""
    found = dict(config)
    if isinstance(model := found.pop("model", None), dict):
        found["system"] = {"kind": "tvtsv2", **model}
    return found


def _stage(older: Values) -> Values:
    stage = dict(older)
    temperature, gather = stage.pop("temperature", 0.05), stage.pop("gather", "published")
    stage["objectives"] = [
        {"kind": "contrastive", "temperature": temperature, "gather": gather},
        {"kind": "sorting"},
    ]
    stage["streams"] = [_stream(stream) for stream in stage.get("streams", [])]
    stage["schedule"] = {"kind": "alternate"}
    stage["optimizer"] = _optimizer(stage.get("optimizer", {}))
    stage["frozen_below"] = {"text": stage.pop("frozen_text_blocks", 0)}
    if stage.pop("frozen_text_embeddings", False):
        stage["freeze"] = [*stage.get("freeze", []), *TEXT_EMBEDDINGS]
    return stage


def _stream(older: Values) -> Values:
    stream = dict(older)
    text, mask_ratio = stream.pop("text", "captions"), stream.pop("mask_ratio", 0.0)
    stream["reads"] = {"kind": "tvtsv2", "text": text, "mask_ratio": mask_ratio}
    return stream


def _optimizer(older: Values) -> Values:
    optimizer = dict(older)
    new, rest = optimizer.pop("lr_new", 1e-4), optimizer.pop("lr_rest", 1e-7)
    optimizer["rates"] = {"new": {"lr": new, "names": list(NEW)}, "rest": {"lr": rest, "names": ["*"]}}
    optimizer["undecayed"] = list(UNDECAYED)
    course: Values = {
        "kind": optimizer.pop("schedule", "constant"),
        "warmup_steps": optimizer.pop("warmup_steps", 0),
    }
    drops = {
        "epochs": optimizer.pop("drop_epochs", [6, 8]),
        "steps_per_epoch": optimizer.pop("steps_per_epoch", 0),
    }
    if course["kind"] == "epoch_drops":
        course |= {"kind": "drops", **drops}
    optimizer["course"] = course
    return optimizer
