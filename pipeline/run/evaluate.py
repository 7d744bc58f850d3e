"""Ingest, train the first stages, search, train the last, evaluate, report: every verb is one or more of these steps.

A step is skipped when it was finished before with the same inputs, so the same command continues after any stop.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from rich.console import Console

from infra import session
from infra.cpus import plan_cpus
from infra.errors import UserError
from infra.journal import Done, Journal, fingerprint
from infra.objects import exists, join, list_files, local_path, read_bytes, write_bytes
from infra.session import Session
from infra.tracking import TrackedRun, flat, tracking_for
from ingest.cluster import graph
from ingest.cluster import stored as streams
from ingest.cluster.graph import StreamSummary
from ingest.stores.ledger import Ledger
from ingest.stores.shards import parts_of
from ingest.tally import StageStands
from pipeline.evaluation.cluster.embed import Checkpoint, Fresh, Load
from pipeline.evaluation.evaluate import START
from pipeline.evaluation.held_out import (
    check_captions,
    declared_of,
    held_out_of,
    protocols_of,
    score_checkpoint,
    scored_streams,
    scores_of,
    validation_of,
)
from pipeline.recipe import Recipe
from pipeline.recipes.recipe_file import as_file
from pipeline.run.live import check_live, live_streams, set_aside
from pipeline.terminal import outcome
from pipeline.terminal.progress import progress
from pipeline.workspace import commit, ledger_digests, located, open_source, resolved
from trainers.checkpoints.checkpoint import RECIPE_FILE
from trainers.checkpoints.run_folder import check_same_training, latest_committed
from trainers.cluster.launch import ClipStream, train_stage
from trainers.evaluation.declarations import declared_by
from trainers.loop.profiling import table_of
from trainers.older_recipes import is_older
from trainers.recipe import Stage, Training
from tune.cluster.search import run_search
from tune.results import (
    SearchResult,
    Setting,
    check_metrics,
    check_space,
    num_trials,
    trained_stages,
    with_setting,
)
from tune.space import Search


@dataclass(frozen=True)
class Work:
    """One recipe in one output location, on one Ray, under one tracked run. `command` continues the work."""

    recipe: Recipe
    command: str
    session: Session
    tracked: TrackedRun
    console: Console
    live: bool = False
    """Training takes its clips straight from the sources, not from the store."""

    @cached_property
    def steps(self) -> Journal:
        """The finished steps below the output location."""
        return Journal(self.recipe.output)

    @property
    def num_stages(self) -> int:
        """Stages of the recipe."""
        return len(self.recipe.training.stages)

    @property
    def searched(self) -> int:
        """Index of the stage that the search varies."""
        return self.recipe.search.stage % self.num_stages

    def named(self, step: str) -> str:
        """The name under which a step that depends on the seed is recorded."""
        return f"seed-{self.recipe.training.seed}/{step}"

    def say(self, text: str) -> None:
        """A line for people."""
        self.console.print(text, highlight=False, soft_wrap=True)


@contextmanager
def working(recipe: Recipe, command: str) -> Iterator[Work]:
    """Start or join Ray, open the tracked run; on a failure close it as failed."""
    recipe = located(recipe)
    tracking = tracking_for(recipe.output)
    joined = session.start(recipe.ray.address)
    tracked = tracking.start_run(
        f"{recipe.name} @ {recipe.output}", params=flat(asdict(recipe)), tags={"commit": commit()}
    )
    status = "FAILED"
    try:
        yield Work(recipe, command, joined, tracked, outcome.terminal())
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracked.finish(status)  # type: ignore[arg-type]


@contextmanager
def step(work: Work, title: str) -> Iterator[None]:
    """Name the step in whatever goes wrong inside it, with what is kept and the command that continues."""
    try:
        yield
    except (UserError, ValueError) as error:
        sentence = str(error).rstrip(".")
        raise UserError(
            f"{title} failed: {sentence}. Finished steps, committed shards and checkpoints are kept in "
            f"{work.recipe.output} and {work.recipe.store}; continue with: {work.command}"
        ) from error


def ingest(work: Work) -> Done:
    """Bring what is missing into the store."""
    recipe = work.recipe
    sources = [open_source(source, recipe.data.root) for source in recipe.data.sources]
    stands: dict[str, StreamSummary] = {}
    with step(work, "ingest"), progress("Ingest", "shards") as update:

        def add(stream: StreamSummary) -> None:
            stands[stream.stream] = stream
            update(*outcome.ingest_progress(stands.values()))

        def watch(stages: Sequence[StageStands]) -> None:
            update(*outcome.ingest_progress(stands.values()), outcome.stage_lines(stages))

        summary = graph.ingest(sources, recipe.ingest, recipe.store, add, watch)
    work.console.print(outcome.ingest_table(summary))
    inputs = fingerprint(recipe.data, recipe.ingest, recipe.store)
    if summary.nothing_to_do:
        work.say("Nothing to do: every input shard was committed before.")
        earlier = work.steps.done("ingest", inputs)
        if earlier:
            return earlier
    return work.steps.record("ingest", inputs, asdict(summary), summary.seconds)


def export_shards(work: Work) -> None:
    """Every stream that holds clips as WebDataset tars."""
    store = work.recipe.store
    names = dict.fromkeys(source.stream for source in work.recipe.data.sources)
    parts = {name: parts_of(Ledger(store, name).committed().values()) for name in names}
    with (
        step(work, "export"),
        progress("Export WebDataset", "shards", sum(map(len, parts.values()))) as update,
    ):
        written: list[bool] = []
        for name in filter(parts.get, names):
            for new in streams.export_webdataset(store, name, parts[name]):
                written.append(new)
                update(len(written))
    work.say(f"{sum(written)} of {len(written)} shards written as tars below {store}/STREAM/webdataset")


def check_root(recipe: Recipe) -> None:
    """UserError where there is no folder of raw data. (A bucket has no folders; its first list file tells.)"""
    root = recipe.data.root
    if local_path(root) is not None and not exists(root):
        hint = "; `reelscript demo` makes the tiny recipes'" if recipe.name.endswith("-tiny") else ""
        raise UserError(f"there is no folder {root}: set --data.root to where the archives are{hint}")


def streams_of(recipe: Recipe, stage: Stage) -> dict[str, ClipStream]:
    """The rows of every stream of a stage, from the store."""
    frames = recipe.ingest.frames
    return {
        stream.name: partial(streams.clip_stream, recipe.store, stream.name, frames=frames)
        for stream in stage.streams
    }


def rows_of(work: Work, stage: Stage) -> tuple[dict[str, ClipStream], dict[str, str]]:
    """The rows of every stream of a stage and the state they are in: from the store, or live from their sources."""
    names = [stream.name for stream in stage.streams]
    if work.live:
        return live_streams(work.recipe, names)
    return streams_of(work.recipe, stage), ledger_digests(work.recipe.store, names)


def train(work: Work, index: int, start: str | None, training: Training | None = None) -> Done:
    """Train one stage, from the checkpoint of the stage before; the result holds its checkpoint's URI."""
    recipe, training = work.recipe, training or work.recipe.training
    stage = training.stages[index]
    rows, ledgers = rows_of(work, stage)
    inputs = fingerprint(
        training.system,
        training.pixels,
        training.stages[: index + 1],
        training.seed,
        training.init,
        training.init_parts,
        start,
        ledgers,
    )
    name, runs, run_name = f"stage {stage.name}", join(recipe.output, "runs"), f"{stage.name}-{inputs[:8]}"
    if not latest_committed(join(runs, run_name)):
        run_name = older_run(runs, training, index, ledgers) or run_name

    def run_stage() -> Mapping[str, Any]:
        kept = validation.num_cpus if validation else 0.0
        workers = training.launch.fewest_workers
        resources = plan_cpus(work.session.num_cpus, workers, len(stage.streams), validation=kept)
        if work.live:
            check_live(rows.values(), training.launch, resources, work.session)
        tracked = tracking_for(recipe.output).start_run(
            f"{stage.name} {run_name[-8:]}", work.tracked.run_id, flat(asdict(stage)), {"stage": stage.name}
        )
        with progress(f"Train {stage.name}", "steps", stage.steps) as update:
            trained = train_stage(
                training,
                index,
                rows,
                storage=runs,
                run_name=run_name,
                start=start,
                run=tracked,
                lineage=lineage_of(recipe, {"commit": commit(), **ledgers}, training),
                resources=resources,
                session=work.session,
                progress=lambda done, values: update(done, stage.steps, outcome.losses(values, stage)),
                validation=validation,
            )
        tracked.finish()
        return {**asdict(trained), "run_id": tracked.run_id}

    with step(work, name):
        validation = validation_of(recipe, index)
        # Which checkpoint is the best does not change the run: it is trained once, and chosen from again.
        chosen = (
            fingerprint(inputs, recipe.validation.stream, recipe.validation.best) if validation else inputs
        )
        done = work.steps.do(work.named(f"stage-{stage.name}"), chosen, run_stage)
    work.say(outcome.step_line(f"{name}, seed {training.seed}", done))
    if validation and validation.best:
        work.say(outcome.best_line(done.result, recipe.validation))
    for line in set_aside(rows.values()) if work.live else ():
        work.say(line)
    if training.launch.profile and not done.earlier:
        work.say(table_of(join(runs, run_name)))
    return done


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


def train_until(work: Work, stop: int) -> str | None:
    """Train the stages before index `stop`; the last one's checkpoint."""
    check_validation(work)
    start = None
    for index in range(stop):
        start = str(train(work, index, start).result["checkpoint"])
    return start


def check_validation(work: Work) -> None:
    """UserError where a later stage's checkpoints could not be scored: before hours of training, not after."""
    with step(work, "validation"):
        for index in range(work.num_stages):
            validation_of(work.recipe, index)


def trained_before(work: Work, index: int) -> str:
    """The checkpoint that a stage ended with in an earlier `train` or `run`, whatever a search had found."""
    stage = work.recipe.training.stages[index]
    done = work.steps.done(work.named(f"stage-{stage.name}"))
    if done is None:
        raise UserError(
            f"{work.recipe.output} holds no finished stage {stage.name} of seed {work.recipe.training.seed}: "
            "train first, or name a checkpoint with --checkpoint"
        )
    return str(done.result["checkpoint"])


def check_tuning(recipe: Recipe) -> None:
    """ValueError or UserError for a search that cannot be: before the first stage is trained, not after."""
    check_space(recipe.search, recipe.training)  # needs no file of the data
    check_metrics(recipe.search, declared_of(recipe, recipe.search.stream))


def tune(work: Work, start: str | None) -> Done:
    """Search what the recipe's search names, on its held-out stream. Trials that failed in an earlier call are tried
    again."""
    recipe, search, training = work.recipe, work.recipe.search, work.recipe.training
    rows: dict[str, ClipStream] = {}
    for index in trained_stages(search, training):
        rows |= streams_of(recipe, training.stages[index])
    protocols = protocols_of(recipe, search.stream)
    with step(work, "search"):
        held_out = held_out_of(recipe, search.stream)
    scored = {search.stream, *(name for each in protocols for name in each.streams(held_out.held_out))}
    ledgers = ledger_digests(recipe.store, [*rows, *sorted(scored)])
    # These do not change what is found.
    decisive = replace(search, max_concurrent=1, retries=0, gpus_per_worker=1.0, words={})
    inputs = fingerprint(
        training.system,
        training.pixels,
        training.stages,
        training.init,
        training.init_parts,
        decisive,
        protocols,
        start,
        ledgers,
    )

    def search_now() -> Mapping[str, Any]:
        tracked = tracking_for(recipe.output).start_run(
            f"search {inputs[:8]}", work.tracked.run_id, flat(asdict(search)), {"stage": "search"}
        )
        with progress("Search", "trials", num_trials(search)) as update:
            result = run_search(
                training,
                search,
                rows,
                partial(score_checkpoint, recipe, held_out, start),
                declared_by(protocols, held_out.held_out),
                storage=join(recipe.output, "runs"),
                run_name=f"search-{inputs[:8]}",
                start=start,
                run=tracked,
                lineage=partial(lineage_of, recipe, {"commit": commit(), **ledgers}),
                session=work.session,
                progress=update,
            )
        file = write_winner(work, result, tracked)
        tracked.finish()
        folder = join(recipe.output, "runs", f"search-{inputs[:8]}")
        return {**asdict(result), "run_id": tracked.run_id, "folder": folder, "recipe_file": file}

    name = work.named("search")
    with step(work, "search"):
        earlier = work.steps.done(name, inputs)
        if earlier and earlier.result["failed"]:
            done = work.steps.record(name, inputs, search_now(), earlier.seconds)
        else:
            done = work.steps.do(name, inputs, search_now)
    work.say(outcome.step_line("search", done))
    work.console.print(outcome.search_table(done.result, search))
    return done


def write_winner(work: Work, result: SearchResult, tracked: TrackedRun) -> str:
    """The recipe with the winning setting, beside the output and with the tracked run; its URI."""
    recipe = work.recipe
    training = with_setting(recipe.training, recipe.search, result.winner)
    title = f"{recipe.name} with the setting that won its search: {', '.join(result.winner.words)}."
    data = as_file(replace(recipe, training=training, search=Search()), title)
    uri = join(recipe.output, "winner.py")
    write_bytes(uri, data)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "winner.py"
        copy.write_bytes(data)
        tracked.log_artifact(copy)
    return uri


def evaluate_all(work: Work, trained: str, start: str | None) -> Done:
    """Score the trained weights beside those they started from and random ones."""
    recipe = work.recipe
    settings, system = recipe.evaluation, recipe.training.system
    models: dict[str, Load] = {
        "random": Fresh(system, recipe.training.seed),
        **({START: Checkpoint(start)} if start else {}),
        "trained": Checkpoint(trained),
    }

    def run_evaluation() -> Mapping[str, Any]:
        with progress("Evaluate", "models", len(models)) as update:
            found = scores_of(recipe, models)
            update(len(models))
        for kind, scores in found.items():
            work.tracked.log(0, {f"{kind}/{name}": value for name, value in scores.values.items()})
        return {kind: scores.to_json() for kind, scores in found.items()}

    with step(work, "evaluate"):
        ledgers = ledger_digests(recipe.store, scored_streams(recipe))
        inputs = fingerprint(system, recipe.training.pixels, settings, trained, start, ledgers)
        done = work.steps.do(work.named("evaluate"), inputs, run_evaluation)
    work.say(outcome.step_line("evaluate", done))
    return done


@dataclass(frozen=True)
class Finished:
    """A whole run: its finished steps, in order, and the recipe it ended with."""

    recipe: Recipe
    ingest: Done
    stages: tuple[Done, ...]
    search: Done | None
    evaluate: Done


def everything(work: Work) -> Finished:
    """All steps in order. With a search, the stage it varies is trained at the setting it found."""
    recipe = work.recipe
    check_captions(recipe)  # before hours of work, not after
    if recipe.search.wanted:
        check_tuning(recipe)
    ingested = ingest(work)
    check_validation(work)
    stages: list[Done] = []
    start = start_of_search = None
    searched: Done | None = None
    training = recipe.training
    for index in range(work.num_stages):
        if index == work.searched and recipe.search.wanted:
            start_of_search = start
            searched = tune(work, start)
            training = with_setting(training, recipe.search, Setting(**searched.result["winner"]))
        elif index == work.searched:
            start_of_search = start
        stages.append(train(work, index, start, training))
        start = str(stages[-1].result["checkpoint"])
    assert start is not None
    evaluated = evaluate_all(work, start, start_of_search)
    return Finished(replace(recipe, training=training), ingested, tuple(stages), searched, evaluated)
