"""A search under Ray Tune, each trial a Ray Train run of its own. Finished trials survive any stop of the search."""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ray
from ray import tune
from ray.tune.execution import class_cache

from infra.cpus import CpuPlan, most_trials, plan_cpus
from infra.errors import UserError, reason_of
from infra.objects import arrow_filesystem, join, remove, write_bytes
from infra.session import Session
from infra.ticking import each_second
from infra.tracking import TrackedRun
from tune.cluster.job import SearchJob
from tune.cluster.trial import train_and_score
from tune.curve import as_csv, as_png, points
from tune.results import Failed, SearchResult, Trial, by_setting, mean, shown_numbers, winner
from tune.settings import Setting, check_search, num_trials, planned
from tune.space import Search
from tune.suggesting import distributions, parameters, setting_of
from tune.trial_journal import Started


@runtime_checkable
class Progress(Protocol):
    """Told about once a second how many trials are done, the fraction of the running ones included."""

    def __call__(self, done: float, total: float | None = None, note: str = "") -> None: ...


def run_search(job: SearchJob, session: Session, progress: Progress | None = None) -> SearchResult:
    """Train and score every setting and seed.

    Its tracked run gets the curve as picture and table. ValueError for what `check_search` refuses. Trials that fail
    after their retries are named in the result; UserError if none came to an end, or they were stopped. Called again,
    finished trials are kept, and those that had begun go on from their checkpoints.
    """
    search, training = job.search, job.training
    check_search(search, training, job.declared)
    launch = training.launch  # a trial has its share of the cluster, not what may come
    job = replace(job, training=replace(training, launch=replace(launch, workers=launch.fewest_workers)))
    share = _share(job, session)
    trials = planned(search)
    began = time.monotonic()
    with _reported(job, num_trials(search), progress):
        failed = (
            _fit_suggested(job, share) if search.sampler == "optuna" else _fit_planned(job, share, trials)
        )
    finished = _in_order(job.journal.finished(), trials)
    if not finished:
        raise UserError(f"no trial of the search came to an end: {failed[0].reason if failed else 'stopped'}")
    start_scores = job.journal.kept("start", dict)
    shown = shown_numbers(finished, search, job.declared)
    result = SearchResult(finished, winner(finished, job.number), start_scores, tuple(failed), shown)
    _record(job, result, time.monotonic() - began)
    return result


@dataclass(frozen=True)
class _Share:
    """How many trials run at a time, and what each has of the cluster."""

    concurrent: int
    plan: CpuPlan
    session: Session


def _share(job: SearchJob, session: Session) -> _Share:
    search, workers = job.search, job.training.launch.fewest_workers
    concurrent = min(max(1, search.max_concurrent), _room(session, search, workers))
    read = max(len(job.training.stages[index].streams) for index in job.stages)
    plan = plan_cpus(session.num_cpus / concurrent, workers, read, search=True)
    return _Share(concurrent, replace(plan, gpu=search.gpus_per_worker), session)


def _room(session: Session, search: Search, workers: int) -> int:
    if not 0 < search.gpus_per_worker <= 1:
        raise ValueError(f"search.gpus_per_worker: {search.gpus_per_worker:g} is not above 0 and at most 1")
    if workers > 1 and search.gpus_per_worker < 1:
        raise ValueError(
            "search.gpus_per_worker: two workers of one trial cannot share a GPU (NCCL refuses it)"
        )
    return most_trials(session.num_cpus, session.num_gpus, workers, search.gpus_per_worker)


def _in_order(finished: Sequence[Trial], trials: Sequence[tuple[Setting, int]]) -> tuple[Trial, ...]:
    places = {setting.name(seed): place for place, (setting, seed) in enumerate(trials)}
    return tuple(sorted(finished, key=lambda trial: places.get(trial.setting.name(trial.seed), len(places))))


def _fit_planned(job: SearchJob, share: _Share, trials: Sequence[tuple[Setting, int]]) -> list[Failed]:
    """Run those of the trials that have no scores yet."""
    missing = [trial for trial in trials if not job.journal.has(*trial)]
    if not missing:
        return []
    space = {"trial": tune.grid_search(list(range(len(missing))))}
    found = _fit(job, share, missing, tune.TuneConfig(num_samples=1), space)
    reasons = {
        (result.config or {})["trial"]: result.error for result in map(found.__getitem__, range(len(found)))
    }
    return _failed(job, [(trial, reasons.get(index)) for index, trial in enumerate(missing)])


def _fit_suggested(job: SearchJob, share: _Share) -> list[Failed]:
    """Let Optuna choose until there are as many settings as samples; those that had begun come first."""
    from ray.tune.search.optuna import OptunaSearch  # imports Optuna, of which a trial knows nothing

    search, journal = job.search, job.journal
    finished = by_setting(journal.finished())
    done = [group for group in finished.values() if len(group) == len(search.seeds)]
    begun = {one.setting.key: one.setting for one in journal.started()}
    for group in done:
        begun.pop(group[0].setting.key, None)
    left = search.samples - len(done)
    if left <= 0:
        return []
    suggest = OptunaSearch(
        distributions(search),
        metric="score",
        mode="max" if job.number.more_is_better else "min",
        seed=0,
        points_to_evaluate=[parameters(setting) for setting in begun.values()],
    )
    for group in done:
        suggest.add_evaluated_point(parameters(group[0].setting), mean(group, search.metric))
    found = _fit(job, share, [], tune.TuneConfig(search_alg=suggest, num_samples=left))
    settings = [
        (setting_of(result.config or {}), result.error)
        for result in map(found.__getitem__, range(len(found)))
    ]
    return _failed(job, [((s, seed), error) for s, error in settings for seed in search.seeds])


def _failed(job: SearchJob, trials: Sequence[tuple[tuple[Setting, int], Exception | None]]) -> list[Failed]:
    """Those of the trials that have no scores, each with its reason. UserError if some were stopped without one."""
    open_trials = [(trial, error) for trial, error in trials if not job.journal.has(*trial)]
    if any(error is None for _, error in open_trials):
        names = ", ".join(setting.name(seed) for (setting, seed), _ in open_trials)
        raise UserError(f"trials {names} of the search were stopped; what they have trained is kept")
    return [Failed(setting, seed, reason_of(error)) for (setting, seed), error in open_trials if error]


def _fit(
    job: SearchJob,
    share: _Share,
    trials: Sequence[tuple[Setting, int]],
    config: tune.TuneConfig,
    space: Mapping[str, Any] | None = None,
) -> tune.ResultGrid:
    """Run Tune's trials; our own objects, not Tune's, say what came of them."""
    # Tune's own loggers write tables nobody reads here, and cost a second of imports per trial.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its tables are printed even when asked for silence
    if share.session.local and not ray.get_runtime_context().runtime_env:
        # Tune gives trials an environment: variables that all processes of this Ray have anyway, and one for a library
        # that nobody uses here. It would be that of ten processes a trial, and each of them be started twice.
        class_cache.DEFAULT_ENV_VARS.clear()
        class_cache.ENV_VARS_TO_PROPAGATE.clear()
    book = join(job.folder, "tune")
    remove(book)  # what an earlier session of Tune left
    filesystem, path = arrow_filesystem(book)
    trainable = tune.with_resources(
        tune.with_parameters(_run_trial, job=job, share=share, trials=list(trials)),
        {"CPU": share.plan.driver},
    )
    config.max_concurrent_trials = share.concurrent
    config.reuse_actors = True  # a trial leaves nothing behind, and a new process costs seconds
    tuner = tune.Tuner(
        trainable,
        param_space=dict(space or {}),
        tune_config=config,
        run_config=tune.RunConfig(
            name=Path(path).name,
            storage_path=str(Path(path).parent),
            storage_filesystem=filesystem,
            failure_config=tune.FailureConfig(max_failures=job.search.retries),
            verbose=0,
        ),
    )
    return tuner.fit()


def _run_trial(
    config: Mapping[str, Any], job: SearchJob, share: _Share, trials: Sequence[tuple[Setting, int]]
) -> None:
    """One planned trial, or all seeds of a suggested setting, in a process of its own."""
    number = config.get("trial")
    own = [(setting_of(config), seed) for seed in job.search.seeds] if number is None else [trials[number]]
    for setting, seed in own:
        if not job.journal.has(setting, seed):  # Optuna may suggest again what was tried
            train_and_score(job, setting, seed, share.plan, share.session)
    found = by_setting(job.journal.finished())[own[0][0].key]
    tune.report({"score": mean(found, job.search.metric)})


def _record(job: SearchJob, result: SearchResult, wall_s: float) -> None:
    """The curve, in numbers, as table and as picture, and the time spent, with the tracked run and in the folder."""
    search, run = job.search, job.run
    curve = points(search, [result])
    whole = all(point.x.is_integer() for point in curve)  # as a tracker's steps are
    for place, point in enumerate(curve):
        names = sorted(set.intersection(*(set(trial.metrics) for trial in point.trials)))
        run.log(
            int(point.x) if whole else place, {f"curve/{name}": mean(point.trials, name) for name in names}
        )
    run.log(0, {"wall_s": wall_s, "device_s": sum(trial.device_s for trial in result.trials)})
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("curve.csv", as_csv(result)), ("curve.png", as_png(result, search))):
            write_bytes(join(job.folder, name), data)
            Path(folder, name).write_bytes(data)
            run.log_artifact(Path(folder, name))


def _reported(job: SearchJob, total: int, progress: Progress | None) -> AbstractContextManager[None]:
    """Tell `progress` once a second, from the objects and tracked steps that the trials leave."""
    if progress is None:
        return nullcontext()

    def tell() -> None:
        done = {one.name: _share_done(job, one) for one in job.journal.started()}
        progress(sum(done.values()), total, ", ".join(name for name, share in done.items() if share < 1))

    return each_second(tell)


def _share_done(job: SearchJob, one: Started) -> float:
    if job.journal.has(one.setting, one.seed):
        return 1.0
    return min(0.99, TrackedRun(job.run.uri, one.run_id).metrics().get("step", 0.0) / job.steps)
