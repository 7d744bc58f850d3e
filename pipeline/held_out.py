"""What a recipe's weights are scored on: held-out clips and their texts, in evaluation, search and validation."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from infra.errors import UserError
from infra.objects import join
from ingest.streams import stored_parts
from pipeline.embed import Checkpoint, Load, StartWeights
from pipeline.evaluate import HeldOut, evaluate_each, evaluate_here, read_captions, search_metrics
from pipeline.recipe import Recipe
from pipeline.scores import Scores, groups
from pipeline.workspace import open_source
from trainers.recipe import Training
from trainers.validation import Best, Validation


def check_captions(recipe: Recipe) -> None:
    """UserError for a recipe that can be trained and not evaluated."""
    if not recipe.evaluation.captions:
        raise UserError(
            "evaluation.captions is not set; give the JSON file of held-out captions below the data root"
        )


def held_out_of(recipe: Recipe, stream: str, twins: str | None = None) -> HeldOut:
    """A held-out stream with its caption file. The keys of that file are those of the stream's own layout."""
    check_captions(recipe)
    sources = {source.stream: source for source in recipe.data.sources}
    if stream not in sources:
        raise UserError(
            f"no source of the recipe feeds the stream {stream!r}; the recipe has {', '.join(sources)}"
        )
    archive = open_source(sources[stream], recipe.data.root).name
    captions = read_captions(join(recipe.data.root, recipe.evaluation.captions), archive)
    return HeldOut(recipe.store, stream, captions, twins, recipe.ingest.frames)


def scores_of(recipe: Recipe, held_out: HeldOut, models: Mapping[str, Load]) -> dict[str, Scores]:
    """The scores of several models, in one job."""
    training = recipe.training
    return evaluate_each(held_out, models, training.pixels, training.num_frames, recipe.evaluation.batch_size)


def score_checkpoint(
    recipe: Recipe, held_out: HeldOut, start: str | None, checkpoint: str
) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of a trial's checkpoint, and of the weights that all trials start from."""
    training = recipe.training
    before = Checkpoint(start) if start else StartWeights(training)
    return search_metrics(
        held_out,
        before,
        Checkpoint(checkpoint),
        training.pixels,
        training.num_frames,
        recipe.evaluation.batch_size,
    )


@dataclass(frozen=True)
class CheckpointScores:
    """All metrics of `evaluate` of a checkpoint, computed in the process that calls it."""

    held_out: HeldOut
    training: Training
    batch_size: int
    threads: int
    on_gpu: bool

    def __call__(self, checkpoint: str) -> Mapping[str, float]:
        """The metrics of the checkpoint at a URI, and how many clips they are of: chance depends on it."""
        pixels, frames = self.training.pixels, self.training.num_frames
        load = Checkpoint(checkpoint)
        found = evaluate_here(self.held_out, load, pixels, frames, self.batch_size, self.threads, self.on_gpu)
        return {**found.metrics, "clips": found.num_clips}


def validation_of(recipe: Recipe, index: int) -> Validation | None:
    """How the checkpoints of a stage are scored while it trains; None where the recipe does not want it.

    UserError for a stream without texts or clips and for a score that there is not.
    """
    wanted, stages = recipe.validation, len(recipe.training.stages)
    best = Best.named(wanted.best) if wanted.best else None
    if not wanted.stream or index not in {stage % stages for stage in wanted.stages}:
        return None
    held_out = held_out_of(recipe, wanted.stream)
    if best:
        check_best(best, held_out)
    stored_parts(recipe.store, wanted.stream)
    score = CheckpointScores(
        held_out,
        recipe.training,
        recipe.evaluation.batch_size,
        threads=max(1, int(wanted.num_cpus)),
        on_gpu=wanted.num_gpus > 0,
    )
    return Validation(score, best, wanted.every, wanted.num_cpus, wanted.num_gpus)


def check_best(best: Best, held_out: HeldOut) -> None:
    """UserError for a score that `evaluate` does not give, or whose better end is the other one."""
    registers = next(iter(held_out.captions.values()), {})
    names = [*(f"{register}/t2v_R1" for register in registers), "sorting/position"]
    known = {metric.name: metric for group in groups(names, {}) for metric in group.metrics}
    if best.score not in known:
        near = ", ".join(get_close_matches(best.score, known, cutoff=0.0))
        raise UserError(f"validation.best: there is no score {best.score!r}; the nearest are {near}")
    if known[best.score].higher_is_better is (best.order == "min"):
        right = "min" if best.order == "max" else "max"
        raise UserError(
            f"validation.best: {best.order}:{best.score} is the worst; write {right}:{best.score}"
        )
