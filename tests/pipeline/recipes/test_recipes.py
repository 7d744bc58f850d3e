"""What the recipes say about the paper (TVTSv2, sections 2 and 17)."""

from dataclasses import replace

import pytest

from pipeline.recipe import Recipe
from pipeline.recipes.resolve import OURS, resolve
from trainers.cluster.job import worker_counts
from trainers.data.pixels import check_sides
from trainers.objectives.settings import Contrastive, Sorting
from trainers.recipe import CLIP_MEAN, Constant, Optimizer, Pixels, Rate
from trainers.systems.tvtsv2.settings import NEW, UNDECAYED, TVTSv2

PUBLISHED = ("tvtsv2-b32", "tvtsv2-b16", "tvtsv2-h14")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_recipes_keep_what_the_published_numbers_depend_on(name: str) -> None:
    training = resolve(name).training
    (stage,) = training.stages
    narrated, captioned = stage.streams
    system = training.system
    assert isinstance(system, TVTSv2)
    assert system.flavour == ("h" if name.endswith("h14") else "b")
    assert system.sorting is not None
    assert (system.layer_norm_eps, system.sorting.layer_norm_eps) == (1e-5, 1e-6)
    assert (system.video.temporal_start, system.video.temporal_start_std) == ("as_published", None)
    assert stage.objectives == (Contrastive(temperature=0.05, gather="published"), Sorting())
    assert narrated.objectives == {"contrastive": 1.0, "sorting": 2.0}
    assert captioned.objectives == {"contrastive": 1.0}
    assert training.pixels == Pixels(268, 224, "nearest", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    rates = {"new": Rate(1e-4, NEW), "rest": Rate(1e-7)}
    published = Optimizer(rates, weight_decay=0.05, undecayed=UNDECAYED, eps=1e-6, form="published")
    assert replace(stage.optimizer, course=Constant()) == published
    assert (stage.optimizer.unused, stage.optimizer.course.epochs) == ("step", (6, 8))


@pytest.mark.parametrize("name", [*PUBLISHED, "tvtsv2-tiny"])
def test_the_plus_recipes_turn_every_better_form_on_and_change_nothing_else(name: str) -> None:
    published, plus = resolve(name), resolve(name.replace("tvtsv2-", "tvtsv2-plus-"))
    for stage in plus.training.stages:
        assert Contrastive(gather="summed") in stage.objectives
        assert (stage.optimizer.form, stage.optimizer.unused) == ("torch", "skip")
    assert plus.training.system.video.temporal_start != "as_published"
    assert plus.training.pixels.resize == plus.ingest.frames.resize == "bicubic"
    assert plus.training.pixels.mean == CLIP_MEAN
    assert as_published(plus, published) == published


def as_published(plus: Recipe, published: Recipe) -> Recipe:
    """The plus recipe with the named fields set back."""
    video = replace(plus.training.system.video, temporal_start=published.training.system.video.temporal_start)
    stages = tuple(
        replace(
            stage,
            objectives=before.objectives,
            optimizer=replace(stage.optimizer, form=before.optimizer.form, unused=before.optimizer.unused),
        )
        for stage, before in zip(plus.training.stages, published.training.stages, strict=True)
    )
    training = replace(
        plus.training,
        system=replace(plus.training.system, video=video),
        stages=stages,
        pixels=published.training.pixels,
    )
    frames = published.ingest.frames
    named = {"name": published.name, "store": published.store, "output": published.output}
    return replace(plus, training=training, ingest=replace(plus.ingest, frames=frames), **named)


@pytest.mark.parametrize("name", OURS)
def test_every_recipe_fits_together(name: str) -> None:
    recipe = resolve(name)
    training, frames = recipe.training, recipe.ingest.frames
    check_sides(training.system.image_size, training.pixels)
    training.system.check(training.num_frames)
    for stage in training.stages:
        worker_counts(stage, training.launch)
        assert all(frames.candidates >= 2 * stream.frames for stream in stage.streams)
    assert frames.short_side == training.pixels.short_side
