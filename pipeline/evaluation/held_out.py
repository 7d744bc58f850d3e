"""What a recipe's weights are scored on: held-out clips and their texts, in evaluation, search and validation."""

from collections.abc import Mapping
from dataclasses import dataclass

from infra.errors import UserError
from infra.objects import join
from ingest.cluster.stored import stored_parts
from pipeline.evaluation.cluster.embed import Checkpoint, Gallery, Load, StartWeights
from pipeline.evaluation.evaluate import START, evaluate, evaluate_here, read_captions
from pipeline.evaluation.scores import Scores
from pipeline.recipe import Recipe
from pipeline.workspace import open_source
from trainers.evaluation.protocol import Declared, HeldOut, Protocol, declared_by
from trainers.evaluation.validation import CHANCE, CLIPS, Best, Validation


def protocols_of(recipe: Recipe, stream: str) -> tuple[Protocol, ...]:
    """What scoring on a held-out stream is by: the evaluation's protocols, and on the search's stream its own too."""
    searched = recipe.search.protocols if stream == recipe.search.stream else ()
    return (
        *recipe.evaluation.protocols,
        *(each for each in searched if each not in recipe.evaluation.protocols),
    )


def check_captions(recipe: Recipe) -> None:
    """UserError for a recipe that can be trained and not evaluated."""
    protocols = (*recipe.evaluation.protocols, *recipe.search.protocols)
    if not recipe.evaluation.captions and any(each.reads_captions for each in protocols):
        raise UserError(
            "evaluation.captions is not set; give the JSON file of held-out captions below the data root"
        )


def held_out_of(recipe: Recipe, stream: str) -> Gallery:
    """A held-out stream with its caption file. The keys of that file are those of the stream's own layout."""
    check_captions(recipe)
    return Gallery(
        texts_of(recipe, stream),
        recipe.store,
        recipe.training.pixels,
        recipe.training.num_frames,
        recipe.evaluation.batch_size,
        recipe.ingest.frames,
        recipe.evaluation.reads,
    )


def texts_of(recipe: Recipe, stream: str) -> HeldOut:
    """What protocols know of a held-out stream before anything is scored."""
    settings, sources = recipe.evaluation, {source.stream: source for source in recipe.data.sources}
    if stream not in sources:
        raise UserError(
            f"no source of the recipe feeds the stream {stream!r}; the recipe has {', '.join(sources)}"
        )
    archive = open_source(sources[stream], recipe.data.root).name
    captions = read_captions(join(recipe.data.root, settings.captions), archive) if settings.captions else {}
    return HeldOut(stream, recipe.training.system, captions, settings.registers)


def declared_of(recipe: Recipe, stream: str) -> dict[str, Declared]:
    """Every number that scoring on a held-out stream beside the start weights can give, by name. UserError as for
    `held_out_of`, ValueError for protocols that do not fit."""
    return declared_by(protocols_of(recipe, stream), held_out_of(recipe, stream).held_out)


def declared_in_validation(recipe: Recipe) -> dict[str, Declared]:
    """The same of the checkpoints that are scored while a training goes on: by the evaluation's protocols, of which
    those that compare with start weights are left out."""
    held_out = held_out_of(recipe, recipe.validation.stream).held_out
    return declared_by(recipe.evaluation.protocols, held_out, with_start=False)


def scored_streams(recipe: Recipe) -> list[str]:
    """The streams of the store that the evaluation reads."""
    held_out = held_out_of(recipe, recipe.evaluation.stream).held_out
    others = (name for each in recipe.evaluation.protocols for name in each.streams(held_out))
    return list(dict.fromkeys([held_out.stream, *others]))


def scores_of(recipe: Recipe, models: Mapping[str, Load]) -> dict[str, Scores]:
    """The scores of several models by the evaluation's protocols, in as many jobs as these have rounds."""
    return evaluate(held_out_of(recipe, recipe.evaluation.stream), models, recipe.evaluation.protocols)


def score_checkpoint(
    recipe: Recipe, held_out: Gallery, start: str | None, checkpoint: str
) -> tuple[dict[str, float], dict[str, float]]:
    """The numbers of a trial's checkpoint, and of the weights that all trials start from."""
    models: dict[str, Load] = {
        START: Checkpoint(start) if start else StartWeights(recipe.training),
        "trained": Checkpoint(checkpoint),
    }
    found = evaluate(held_out, models, protocols_of(recipe, held_out.held_out.stream))
    return found["trained"].values, found[START].values


@dataclass(frozen=True)
class CheckpointScores:
    """The numbers of a checkpoint, computed in the process that calls it."""

    gallery: Gallery
    protocols: tuple[Protocol, ...]
    threads: int
    on_gpu: bool

    def __call__(self, checkpoint: str) -> Mapping[str, float]:
        """Of the checkpoint at a URI; with them how many clips they are of, and chance of the leading ones."""
        load = Checkpoint(checkpoint)
        found = evaluate_here(self.gallery, load, self.protocols, threads=self.threads, on_gpu=self.on_gpu)
        chance = {
            CHANCE + each.name: each.chance
            for each in found.measured
            if each.declared.leading and each.chance is not None
        }
        return {**found.values, CLIPS: found.num_clips, **chance}


def validation_of(recipe: Recipe, index: int) -> Validation | None:
    """How the checkpoints of a stage are scored while it trains; None where the recipe does not want it.

    UserError for a stream without texts or clips and for a score that there is not.
    """
    wanted, stages = recipe.validation, len(recipe.training.stages)
    if not wanted.stream or index not in {stage % stages for stage in wanted.stages}:
        return None
    best = Best.named(wanted.best, declared_in_validation(recipe)) if wanted.best else None
    stored_parts(recipe.store, wanted.stream)
    score = CheckpointScores(
        held_out_of(recipe, wanted.stream),
        recipe.evaluation.protocols,
        threads=max(1, int(wanted.num_cpus)),
        on_gpu=wanted.num_gpus > 0,
    )
    return Validation(score, best, wanted.every, wanted.num_cpus, wanted.num_gpus)
