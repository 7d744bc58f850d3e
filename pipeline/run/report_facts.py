"""From finished runs to the facts of the report: what came in, what was set aside, curves, samples, scores."""

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from infra.tracking import TrackedRun, Tracking
from ingest.records import Clip, Reject
from ingest.stages.references import ReferencedFrames
from ingest.stores.ledger import Ledger
from ingest.stores.quarantine import read_rejects
from ingest.stores.shards import read_clips
from pipeline.evaluation.held_out import declared_in_validation
from pipeline.evaluation.scores import Scores
from pipeline.recipe import Recipe
from pipeline.report.facts import Curve, Line, ReportData, SearchCurve, StepTime, StreamIn, Weights
from pipeline.report.views import pick_samples
from pipeline.run.everything import Finished
from pipeline.workspace import commit, machine, resolved
from trainers.data.frame_choice import FrameChoice
from trainers.evaluation.validation import CHANCE, CLIPS, PREFIX
from tune.curve import disagreement, place_of, points, title
from tune.results import SearchResult

TITLES = {"random": "random weights", "start": "start weights", "trained": "trained"}
SAMPLES = 6
PICTURES = 12
"""Frames decoded of a clip that is a reference."""


def report_data(finished: Sequence[Finished], tracking: Tracking, command: str) -> ReportData:
    """The facts of one run, or of the same recipe with several seeds."""
    recipe = finished[0].recipe
    clips = samples(recipe)
    trained = weights(finished)
    return ReportData(
        recipe=recipe.name,
        command=command,
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=commit(),
        machine=machine(),
        seeds=tuple(run.recipe.training.seed for run in finished),
        steps=tuple(steps(finished)),
        streams=tuple(stream_in(recipe, source.stream, source.layout) for source in recipe.data.sources),
        rejects=tuple(rejects(recipe)),
        samples=tuple(clips),
        curves=tuple(curves(finished[0], tracking)),
        lines=tuple(lines(finished[0], tracking)),
        search=search_curve(finished),
        weights=trained,
        gallery=gallery(recipe, trained),
        recipe_json=resolved(recipe),
    )


def steps(finished: Sequence[Finished]) -> list[StepTime]:
    """How long everything took, with the seed in the title where there are several."""
    first = finished[0]
    found = [StepTime("Ingest", first.ingest.seconds, "raw archives to shards", first.ingest.earlier)]
    for run in finished:
        seed = f", seed {run.recipe.training.seed}" if len(finished) > 1 else ""
        parts = [
            (f"Train {stage.name}{seed}", done, f"{stage.steps} steps")
            for stage, done in zip(run.recipe.training.stages, run.stages, strict=True)
        ]
        if run.search:
            trials = len(run.search.result["trials"])
            where = run.recipe.search.stage % len(parts)
            parts.insert(where, (f"Search{seed}", run.search, f"{trials} trials"))
        parts.append((f"Evaluate{seed}", run.evaluate, f"{len(run.evaluate.result)} kinds of weights"))
        found += [StepTime(title, done.seconds, detail, done.earlier) for title, done, detail in parts]
    return found


def stream_in(recipe: Recipe, stream: str, layout: str) -> StreamIn:
    """What the ledger says of a stream."""
    lines = Ledger(recipe.store, stream).committed().values()
    return StreamIn(
        name=stream,
        layout=layout,
        media=sum(line.num_media for line in lines),
        clips=sum(line.num_clips for line in lines),
        rejects=sum(sum(line.rejects.values()) for line in lines),
        hours=sum(line.clips_s for line in lines) / 3600,
        size_bytes=sum(part.num_bytes for line in lines for part in line.parts),
        transcribed=sum(line.num_transcribed for line in lines),
    )


def rejects(recipe: Recipe) -> list[Reject]:
    """Everything that was set aside, over all streams."""
    streams = dict.fromkeys(source.stream for source in recipe.data.sources)
    return [reject for stream in streams for reject in read_rejects(recipe.store, stream)]


def samples(recipe: Recipe) -> list[Clip]:
    """A few clips of every training stream, by turns between the origins of their words."""
    streams = dict.fromkeys(s.name for stage in reversed(recipe.training.stages) for s in stage.streams)
    each = -(-SAMPLES // len(streams))
    picked = [clip for name in streams for clip in pick_samples(read_clips(recipe.store, name, 64), each)]
    return [pictured(recipe, clip) for clip in picked]


def pictured(recipe: Recipe, clip: Clip) -> Clip:
    """A reference with a few frames, decoded here; other clips as they are."""
    if clip.frames or recipe.ingest.frames.store != "reference":
        return clip
    few = FrameChoice(PICTURES, seed=0, training=False)
    return replace(clip, frames=tuple(ReferencedFrames(recipe.ingest.frames, few).of(clip)))


def curves(run: Finished, tracking: Tracking) -> list[Curve]:
    """Every loss over the steps of its stage, from the tracker; of the first seed where there are several."""
    found = []
    for stage, done in zip(run.recipe.training.stages, run.stages, strict=True):
        tracked = TrackedRun(tracking.uri, done.result["run_id"])
        objectives = {objective.name: objective for objective in stage.objectives}
        for stream in stage.streams:
            for loss in stream.objectives:
                history = tracked.history(f"{stream.name}/{loss}")
                points = tuple((float(step), value) for step, value in history)
                level = objectives[loss].chance(run.recipe.training.system, stream)
                found.append(Curve(stage.name, loss, stream.name, points, level))
    return found


def lines(run: Finished, tracking: Tracking) -> list[Line]:
    """What else was seen of every stage while it trained: scores of its checkpoints, and what the system watches."""
    found = []
    for stage, done in zip(run.recipe.training.stages, run.stages, strict=True):
        tracked = TrackedRun(tracking.uri, done.result["run_id"])
        found += validation_lines(run.recipe, stage.name, tracked)
        for watched in run.recipe.training.system.watched:
            unit = "%" if watched.scale == 100 else ""
            for stream in stage.streams:
                history = tracked.history(f"{stream.name}/{watched.name}")
                points = tuple((float(at), watched.scale * value) for at, value in history)
                if points:
                    line = Line(stage.name, watched.title, stream.name, points, unit=unit, note=watched.note)
                    found.append(line)
    return found


def validation_lines(recipe: Recipe, stage: str, tracked: TrackedRun) -> list[Line]:
    """The leading numbers of the checkpoints that were scored."""
    last = tracked.metrics()
    if PREFIX + CLIPS not in last:
        return []
    where = f"on {recipe.validation.stream}, {last[PREFIX + CLIPS]:.0f} clips"
    found = []
    for name, declared in declared_in_validation(recipe).items():
        if declared.leading and PREFIX + name in last:
            points = tuple((float(step), value) for step, value in tracked.history(PREFIX + name))
            label = name.rpartition("/")[0] or name
            level = last.get(PREFIX + CHANCE + name)
            found.append(Line(stage, f"{declared.label} {where}", label, points, level, declared.unit))
    return found


def search_curve(finished: Sequence[Finished]) -> SearchCurve | None:
    """The search's curve, over all seeds."""
    found = [SearchResult.from_json(run.search.result) for run in finished if run.search]
    if not found:
        return None
    search = finished[0].recipe.search
    curve = points(search, found)
    return SearchCurve(
        title=title(search),
        stream=search.stream,
        points=curve,
        winner=place_of(found[0].winner, search, curve),
        has_axis=search.axis is not None,
        shown=found[0].shown,
        start=found[0].start,
        failed=tuple(failed for result in found for failed in result.failed),
        disagreement=disagreement(found[0], search),
    )


def weights(finished: Sequence[Finished]) -> tuple[Weights, ...]:
    """The scores of every kind of weights, a run per seed."""
    kinds = finished[0].evaluate.result
    return tuple(
        Weights(kind, TITLES[kind], tuple(Scores.from_json(run.evaluate.result[kind]) for run in finished))  # type: ignore[arg-type]
        for kind in kinds
        if kinds[kind]["measured"]
    )


def gallery(recipe: Recipe, found: Sequence[Weights]) -> dict[str, Clip]:
    """The clips that the retrieval examples name."""
    examples: list[Any] = [example for item in found for run in item.runs for example in run.examples]
    wanted = {hit.uid for example in examples for hit in example.hits} | {example.own for example in examples}
    return {
        clip.uid: pictured(recipe, clip)
        for clip in read_clips(recipe.store, recipe.evaluation.stream)
        if clip.uid in wanted
    }
