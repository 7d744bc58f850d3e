"""Training the stages of a recipe, one after the other, each from the checkpoint of the one before."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from infra.cpus import plan_cpus
from infra.errors import UserError
from infra.journal import Done, fingerprint
from infra.objects import join, list_files, read_bytes
from infra.tracking import flat, tracking_for
from ingest.cluster.stored import StoredStream
from pipeline.evaluation.held_out import validation_of
from pipeline.recipe import Recipe
from pipeline.run.live import check_live, live_streams, set_aside
from pipeline.run.recipe_run import RecipeRun, step
from pipeline.terminal import tables
from pipeline.terminal.progress import progress
from pipeline.workspace import commit, ledger_digests, resolved
from trainers.checkpoints.checkpoint import RECIPE_FILE
from trainers.checkpoints.run_folder import check_same_training, latest_committed
from trainers.cluster.job import StageJob
from trainers.cluster.launch import ClipStream, train_stage
from trainers.evaluation.validation import Validation
from trainers.loop.profiling import table_of
from trainers.older_recipes import is_older
from trainers.recipe import Stage, Training


def train(run: RecipeRun, index: int, start: str | None, training: Training | None = None) -> Done:
    """Train one stage, from the checkpoint of the stage before; the result holds its checkpoint's URI."""
    training = training or run.recipe.training
    clips, ledgers = clips_of(run, training.stages[index])
    planned = _Planned(run, training, index, start, clips, ledgers)
    stage, name = planned.stage, f"stage {planned.stage.name}"
    with step(run, name):
        validation = validation_of(run.recipe, index)
        done = run.journal.do(
            run.named(f"stage-{stage.name}"),
            planned.chosen_by(validation),
            lambda: planned.trained(validation),
        )
    run.say(tables.step_line(f"{name}, seed {training.seed}", done))
    if validation and validation.best:
        run.say(tables.best_line(done.result, run.recipe.validation))
    for line in set_aside(clips.values()) if run.live else ():
        run.say(line)
    if training.launch.profile and not done.earlier:
        run.say(table_of(planned.folder))
    return done


@dataclass(frozen=True)
class _Planned:
    """A stage that is to be trained, on these clips in the state that `ledgers` names."""

    run: RecipeRun
    training: Training
    index: int
    start: str | None
    clips: Mapping[str, ClipStream]
    ledgers: Mapping[str, str]

    @property
    def stage(self) -> Stage:
        """Its settings."""
        return self.training.stages[self.index]

    @cached_property
    def inputs(self) -> str:
        """Names all that decides its weights."""
        training = self.training
        begun = (training.system, training.pixels, training.stages[: self.index + 1], training.seed)
        return fingerprint(*begun, training.init, training.init_parts, self.start, self.ledgers)

    def chosen_by(self, validation: Validation | None) -> str:
        """Names all that decides which checkpoint it hands on. Which is the best does not change the run: it is trained
        once, and chosen from again."""
        asked = self.run.recipe.validation
        return fingerprint(self.inputs, asked.stream, asked.best) if validation else self.inputs

    @cached_property
    def folder(self) -> str:
        """URI of its run."""
        runs, name = join(self.run.recipe.output, "runs"), f"{self.stage.name}-{self.inputs[:8]}"
        if not latest_committed(join(runs, name)):
            name = older_run(runs, self.training, self.index, self.ledgers) or name
        return join(runs, name)

    def trained(self, validation: Validation | None) -> Mapping[str, Any]:
        """Train it to its end, under a tracked run of its own."""
        run, training, stage = self.run, self.training, self.stage
        kept, workers = validation.num_cpus if validation else 0.0, training.launch.fewest_workers
        plan = plan_cpus(run.session.num_cpus, workers, len(stage.streams), validation=kept)
        if run.live:
            check_live(self.clips.values(), training.launch, plan, run.session)
        tracked = tracking_for(run.recipe.output).start_run(
            f"{stage.name} {self.folder[-8:]}", run.tracked.run_id, flat(asdict(stage)), {"stage": stage.name}
        )
        lineage = lineage_of(run.recipe, {"commit": commit(), **self.ledgers}, training)
        job = StageJob(training, self.index, self.folder, tracked, self.start, lineage, validation)
        with progress(f"Train {stage.name}", "steps", stage.steps) as update:
            trained = train_stage(
                job,
                self.clips,
                plan,
                run.session,
                lambda done, values: update(done, stage.steps, tables.losses(values, stage)),
            )
        tracked.finish()
        return {**asdict(trained), "run_id": tracked.run_id}


def clips_of(run: RecipeRun, stage: Stage) -> tuple[dict[str, ClipStream], dict[str, str]]:
    """The clips of every stream of a stage and the state they are in: from the store, or live from their sources."""
    names = [stream.name for stream in stage.streams]
    if run.live:
        return live_streams(run.recipe, names)
    return stored_streams(run.recipe, stage), ledger_digests(run.recipe.store, names)


def stored_streams(recipe: Recipe, stage: Stage) -> dict[str, ClipStream]:
    """The clips of every stream of a stage, from the store."""
    frames = recipe.ingest.frames
    return {stream.name: StoredStream(recipe.store, stream.name, frames) for stream in stage.streams}


def lineage_of(recipe: Recipe, code_and_shards: Mapping[str, str], training: Training) -> dict[str, str]:
    """What is saved with every checkpoint of a training: the recipe with just this training, the code, the shards."""
    return {"recipe": resolved(replace(recipe, training=training)), **code_and_shards}


def older_run(runs: str, training: Training, index: int, ledgers: Mapping[str, str]) -> str | None:
    """The run below `runs` in which an older version, which named it by another hash, began this very stage."""
    named = re.compile(rf"{re.escape(training.stages[index].name)}-[0-9a-f]{{8}}")
    folders = {uri.removeprefix(runs).strip("/").partition("/")[0] for uri in list_files(runs)}
    for name in sorted(filter(named.fullmatch, folders)):
        with suppress(UserError):  # another training, or a damaged run
            kept = latest_committed(join(runs, name))
            if kept and is_older(json.loads(read_bytes(join(kept.uri, RECIPE_FILE)))):
                check_same_training(kept, training, index, ledgers)
                return name
    return None


def train_until(run: RecipeRun, stop: int) -> str | None:
    """Train the stages before index `stop`; the last one's checkpoint."""
    check_validation(run)
    start = None
    for index in range(stop):
        start = str(train(run, index, start).result["checkpoint"])
    return start


def check_validation(run: RecipeRun) -> None:
    """UserError where a later stage's checkpoints could not be scored: before hours of training, not after."""
    with step(run, "validation"):
        for index in range(run.num_stages):
            validation_of(run.recipe, index)


def trained_before(run: RecipeRun, index: int) -> str:
    """The checkpoint that a stage ended with in an earlier `train` or `run`, whatever a search had found."""
    stage = run.recipe.training.stages[index]
    done = run.journal.done(run.named(f"stage-{stage.name}"))
    if done is None:
        raise UserError(
            f"{run.recipe.output} holds no finished stage {stage.name} of seed {run.recipe.training.seed}: "
            "train first, or name a checkpoint with --checkpoint"
        )
    return str(done.result["checkpoint"])
