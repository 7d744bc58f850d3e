"""A search under Ray Tune, each trial a Ray Train run of its own. Finished trials survive any stop of the search."""

import dataclasses
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ray import tune

from infra.errors import UserError, sentence_in
from infra.objects import arrow_filesystem, exists, join, read_bytes, remove, write_bytes
from infra.session import CpuPlan, Session, plan_cpus
from infra.tracking import Run
from trainers.launch import ClipStream, train_stage
from trainers.recipe import Training
from trainers.runs import absolute
from tune.freezing_depth import SearchResult, Trial, means, planned, trial_training, winner
from tune.space import Search

Evaluate = Callable[[str], dict[str, float]]
"""From the URI of a checkpoint to its metrics, which must hold the search's."""


@runtime_checkable
class Progress(Protocol):
    """Told about once a second how many trials are done, the fraction of the running ones included."""

    def __call__(self, done: float, total: float | None = None, note: str = "") -> None: ...


@dataclass(frozen=True)
class _Shared:
    """What all trials of a search have in common."""

    training: Training
    search: Search
    streams: dict[str, ClipStream]
    evaluate: Evaluate
    folder: str
    start: str | None
    lineage: dict[str, str]
    plan: CpuPlan
    session: Session
    runs: dict[tuple[int, int], Run]

    @property
    def stage_index(self) -> int:
        """The searched stage."""
        return self.search.stage % len(self.training.stages)

    def result_uri(self, depth: int, seed: int) -> str:
        """The object that says that a trial is finished, and what it found."""
        return join(self.folder, "trials", f"{_name(depth, seed)}.json")


def search_depth(
    training: Training,
    search: Search,
    streams: Mapping[str, ClipStream],
    evaluate: Evaluate,
    *,
    storage: str,
    run_name: str,
    start: str | None,
    run: Run,
    lineage: Mapping[str, str],
    session: Session,
    progress: Progress | None = None,
) -> SearchResult:
    """Train and score every depth and seed; `storage/run_name` belongs to this search alone.

    `start`: checkpoint that all trials begin with. Each trial is a run below `run`. UserError naming the trials
    that failed; the finished ones are kept and not repeated, and those that had begun go on from their checkpoints.
    """
    trials = planned(search, training)
    share = session.num_cpus / max(1, search.max_concurrent)
    shared = _Shared(
        training,
        search,
        dict(streams),
        evaluate,
        folder=join(absolute(storage), run_name),
        start=absolute(start) if start else None,
        lineage=dict(lineage),
        plan=plan_cpus(share, training.launch.workers, len(streams), search=True),
        session=session,
        runs={(depth, seed): _child(run, depth, seed) for depth, seed in trials},
    )
    open_trials = [trial for trial in trials if not exists(shared.result_uri(*trial))]
    if open_trials:
        with _reported(shared, trials, progress):
            errors = _fit(shared, open_trials)
        _check_all_finished(shared, open_trials, errors)
    results = tuple(_read(shared, *trial) for trial in trials)
    for depth, mean in means(results, search.metric).items():
        run.log(depth, {f"by_depth/{search.metric}": mean})
    return SearchResult(results, winner(results, search.metric))


def _child(run: Run, depth: int, seed: int) -> Run:
    name = _name(depth, seed)
    return run.start_child(name, {"frozen_text_blocks": depth, "seed": seed}, {"trial": name})


def _name(depth: int, seed: int) -> str:
    return f"depth-{depth}-seed-{seed}"


def _fit(shared: _Shared, trials: Sequence[tuple[int, int]]) -> list[str]:
    """Run these trials; returns what each failed one says."""
    # Tune's own loggers write tables nobody reads here, and cost a second of imports per trial.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its tables are printed even when asked for silence
    book = join(shared.folder, "tune")
    remove(book)  # what an earlier session of Tune left; our own objects say which trials are finished
    filesystem, path = arrow_filesystem(book)
    trainable = tune.with_resources(
        tune.with_parameters(_run_trial, shared=shared), {"CPU": shared.plan.driver}
    )
    tuner = tune.Tuner(
        trainable,
        param_space={"trial": tune.grid_search(list(trials))},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=max(1, shared.search.max_concurrent), reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name=Path(path).name,
            storage_path=str(Path(path).parent),
            storage_filesystem=filesystem,
            verbose=0,
        ),
    )
    found = tuner.fit()
    return [sentence_in(str(error)) for error in found.errors]


def _run_trial(config: Mapping[str, Any], shared: _Shared) -> None:
    """One trial, in a process of its own."""
    depth, seed = config["trial"]
    run = shared.runs[depth, seed]
    trained = train_stage(
        trial_training(shared.training, shared.search, depth, seed),
        shared.stage_index,
        shared.streams,
        storage=shared.folder,
        run_name=_name(depth, seed),
        start=shared.start,
        run=run,
        lineage=shared.lineage,
        resources=shared.plan,
        session=shared.session,
    )
    metrics = shared.evaluate(trained.checkpoint)
    if shared.search.metric not in metrics:
        raise UserError(f"search.metric: no {shared.search.metric!r} among {', '.join(sorted(metrics))}")
    run.log(trained.step, metrics)
    trial = Trial(depth, seed, metrics, trained.checkpoint, run.run_id)
    write_bytes(shared.result_uri(depth, seed), json.dumps(dataclasses.asdict(trial), indent=1).encode())
    run.finish()
    tune.report({shared.search.metric: metrics[shared.search.metric]})


def _read(shared: _Shared, depth: int, seed: int) -> Trial:
    return Trial(**json.loads(read_bytes(shared.result_uri(depth, seed))))


def _check_all_finished(shared: _Shared, trials: Sequence[tuple[int, int]], errors: Sequence[str]) -> None:
    missing = [_name(*trial) for trial in trials if not exists(shared.result_uri(*trial))]
    if missing:
        reason = errors[0] if errors else "they were stopped"
        finished = len(trials) - len(missing)
        raise UserError(
            f"trials {', '.join(missing)} of the search did not finish: {reason}; "
            f"{finished} others of this session are kept in {shared.folder}"
        )


@contextmanager
def _reported(
    shared: _Shared, trials: Sequence[tuple[int, int]], progress: Progress | None
) -> Iterator[None]:
    """Tell `progress` once a second, from the objects and tracked steps that the trials leave."""
    ended = threading.Event()

    def watch() -> None:
        while progress and not ended.wait(1.0):
            done = {trial: _share_done(shared, trial) for trial in trials}
            running = [_name(*trial) for trial, share in done.items() if 0 < share < 1]
            progress(sum(done.values()), len(trials), ", ".join(running))

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _share_done(shared: _Shared, trial: tuple[int, int]) -> float:
    if exists(shared.result_uri(*trial)):
        return 1.0
    steps = trial_training(shared.training, shared.search, *trial).stages[shared.stage_index].steps
    return min(0.99, shared.runs[trial].metrics().get("step", 0.0) / steps)
