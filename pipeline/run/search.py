"""Searching what a recipe's search names, and writing down what won."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from infra.journal import Done, fingerprint
from infra.objects import join, write_bytes
from infra.tracking import TrackedRun, flat, tracking_for
from pipeline.evaluation.cluster.embed import Gallery
from pipeline.evaluation.held_out import declared_of, held_out_of, protocols_of, score_checkpoint
from pipeline.recipe import Recipe
from pipeline.recipes.recipe_file import as_file
from pipeline.run.recipe_run import RecipeRun, step
from pipeline.run.train import lineage_of, stored_streams
from pipeline.terminal import tables
from pipeline.terminal.progress import progress
from pipeline.workspace import commit, ledger_digests
from trainers.cluster.launch import ClipStream
from trainers.evaluation.protocol import Protocol, declared_by
from tune.cluster.job import SearchJob
from tune.cluster.search import run_search
from tune.results import SearchResult
from tune.settings import check_metrics, check_space, num_trials, trained_stages, with_setting
from tune.space import Search


def check_search(recipe: Recipe) -> None:
    """ValueError or UserError for a search that cannot be: before the first stage is trained, not after."""
    check_space(recipe.search, recipe.training)  # needs no file of the data
    check_metrics(recipe.search, declared_of(recipe, recipe.search.stream))


def search(run: RecipeRun, start: str | None) -> Done:
    """Search what the recipe's search names, on its held-out stream. Trials that failed in an earlier call are tried
    again."""
    planned = _Planned(run, start)
    name = run.named("search")
    with step(run, "search"):
        inputs = planned.inputs
        earlier = run.journal.done(name, inputs)
        if earlier and earlier.result["failed"]:
            done = run.journal.record(name, inputs, planned.searched(), earlier.seconds)
        else:
            done = run.journal.do(name, inputs, planned.searched)
    run.say(tables.step_line("search", done))
    run.console.print(tables.search_table(done.result, run.recipe.search))
    return done


@dataclass(frozen=True)
class _Planned:
    """A search that is to be made, whose trials begin with the checkpoint `start`."""

    run: RecipeRun
    start: str | None

    @cached_property
    def clips(self) -> dict[str, ClipStream]:
        """Of every stream of the stages that a trial trains."""
        recipe, stages = self.run.recipe, self.run.recipe.training.stages
        found: dict[str, ClipStream] = {}
        for index in trained_stages(recipe.search, recipe.training):
            found |= stored_streams(recipe, stages[index])
        return found

    @cached_property
    def held_out(self) -> Gallery:
        """What trials are scored on."""
        return held_out_of(self.run.recipe, self.run.recipe.search.stream)

    @cached_property
    def ledgers(self) -> dict[str, str]:
        """The state of all clips that are used."""
        recipe, wanted = self.run.recipe, self.held_out.held_out
        by_protocol = (name for each in self._protocols for name in each.streams(wanted))
        scored = sorted({recipe.search.stream, *by_protocol})
        return ledger_digests(recipe.store, [*self.clips, *scored])

    @cached_property
    def inputs(self) -> str:
        """Names all that decides what is found."""
        training, asked = self.run.recipe.training, self.run.recipe.search
        decisive = replace(asked, max_concurrent=1, retries=0, gpus_per_worker=1.0, words={})
        parts = (training.system, training.pixels, training.stages, training.init, training.init_parts)
        return fingerprint(*parts, decisive, self._protocols, self.start, self.ledgers)

    @property
    def _protocols(self) -> tuple[Protocol, ...]:
        return protocols_of(self.run.recipe, self.run.recipe.search.stream)

    def searched(self) -> Mapping[str, Any]:
        """Make it, under a tracked run of its own."""
        run, recipe, name = self.run, self.run.recipe, f"search-{self.inputs[:8]}"
        tracked = tracking_for(recipe.output).start_run(
            f"search {self.inputs[:8]}", run.tracked.run_id, flat(asdict(recipe.search)), {"stage": "search"}
        )
        job = SearchJob(
            recipe.training,
            recipe.search,
            self.clips,
            partial(score_checkpoint, recipe, self.held_out, self.start),
            declared_by(self._protocols, self.held_out.held_out),
            join(recipe.output, "runs", name),
            tracked,
            partial(lineage_of, recipe, {"commit": commit(), **self.ledgers}),
            self.start,
        )
        with progress("Search", "trials", num_trials(recipe.search)) as update:
            result = run_search(job, run.session, update)
        file = write_winner(run, result, tracked)
        tracked.finish()
        return {**asdict(result), "run_id": tracked.run_id, "folder": job.folder, "recipe_file": file}


def write_winner(run: RecipeRun, result: SearchResult, tracked: TrackedRun) -> str:
    """The recipe with the winning setting, beside the output and with the tracked run; its URI."""
    recipe = run.recipe
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
