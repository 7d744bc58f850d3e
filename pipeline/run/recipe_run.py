"""One recipe at work: where its results lie, what is finished, and what people are told of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property

from rich.console import Console

from infra import session
from infra.errors import UserError
from infra.journal import Journal
from infra.session import Session
from infra.tracking import TrackedRun, flat, tracking_for
from pipeline.recipe import Recipe
from pipeline.terminal import tables
from pipeline.workspace import commit, located


@dataclass(frozen=True)
class RecipeRun:
    """One recipe in one output location, on one Ray, under one tracked run. `command` continues the run."""

    recipe: Recipe
    command: str
    session: Session
    tracked: TrackedRun
    console: Console
    live: bool = False
    """Training takes its clips straight from the sources, not from the store."""

    @cached_property
    def journal(self) -> Journal:
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
def running(recipe: Recipe, command: str) -> Iterator[RecipeRun]:
    """Start or join Ray, open the tracked run; on a failure close it as failed."""
    recipe = located(recipe)
    tracking = tracking_for(recipe.output)
    joined = session.start(recipe.ray.address)
    tracked = tracking.start_run(
        f"{recipe.name} @ {recipe.output}", params=flat(asdict(recipe)), tags={"commit": commit()}
    )
    status = "FAILED"
    try:
        yield RecipeRun(recipe, command, joined, tracked, tables.terminal())
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracked.finish(status)  # type: ignore[arg-type]


@contextmanager
def step(run: RecipeRun, title: str) -> Iterator[None]:
    """Name the step in whatever goes wrong inside it, with what is kept and the command that continues."""
    try:
        yield
    except (UserError, ValueError) as error:
        sentence = str(error).rstrip(".")
        raise UserError(
            f"{title} failed: {sentence}. Finished steps, committed shards and checkpoints are kept in "
            f"{run.recipe.output} and {run.recipe.store}; continue with: {run.command}"
        ) from error
