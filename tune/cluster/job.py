"""What one trial does in its process: train, score, write down. It stops its own training; nobody else knows of it."""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace

from infra.cpus import CpuPlan
from infra.errors import UserError
from infra.objects import join
from infra.session import Session
from infra.tracking import TrackedRun
from trainers.checkpoints.run_folder import checkpoint_name, latest_committed
from trainers.cluster.launch import ClipStream, Trained, train_stage
from trainers.evaluation.protocol import Declared
from trainers.recipe import Training
from tune.halving import goes_on, rungs
from tune.journal import Book, Started
from tune.results import Setting, Trial, trained_stages, trial_training
from tune.space import Search

Evaluate = Callable[[str], tuple[dict[str, float], dict[str, float]]]
"""From the URI of a checkpoint to its metrics, which must hold the search's, and to those of the start weights."""
Lineage = Callable[[Training], Mapping[str, str]]
"""From what a trial trains to what is saved with its checkpoints."""


@dataclass(frozen=True)
class Shared:
    """What all trials of a search have in common."""

    training: Training
    search: Search
    streams: dict[str, ClipStream]
    evaluate: Evaluate
    number: Declared
    """The one that decides."""
    folder: str
    start: str | None
    lineage: Lineage
    plan: CpuPlan
    concurrent: int
    session: Session
    run: TrackedRun

    @property
    def book(self) -> Book:
        """What the trials have said."""
        return Book(self.folder)

    @property
    def stages(self) -> range:
        """Indices of the stages that a trial trains."""
        return trained_stages(self.search, self.training)

    @property
    def steps(self) -> int:
        """Of all stages of one trial."""
        return sum(self.search.steps or self.training.stages[index].steps for index in self.stages)

    def score_at(self, step: int, setting: Setting, seed: int, checkpoint: str) -> dict[str, float]:
        """The metrics of a trial after some steps, taken once."""
        return self.book.scores_at(step, setting, seed, lambda: self.score(checkpoint))

    def score(self, checkpoint: str) -> dict[str, float]:
        """The metrics of a checkpoint; UserError where the deciding one is not among them."""
        metrics, start = self.evaluate(checkpoint)
        self.book.kept("start", lambda: start)
        for wanted in filter(None, (self.search.metric, self.search.against)):
            if wanted not in metrics:
                raise UserError(f"the search's metric {wanted!r} is not among {', '.join(sorted(metrics))}")
        return metrics


def train_and_score(shared: Shared, setting: Setting, seed: int) -> Trial:
    """Train and score one setting and seed, and write down what was found."""
    name = setting.name(seed)
    varied = {**setting.values, **({"variant": setting.variant} if setting.variant else {}), "seed": seed}
    run = shared.run.start_child(name, varied, {"trial": name})
    shared.book.start(Started(setting, seed, run.run_id))
    began = time.monotonic()
    try:
        checkpoint, step, stopped = _train(shared, setting, seed, run)
        trained_s = time.monotonic() - began
        metrics = shared.score_at(step, setting, seed, checkpoint)
    except Exception:
        run.finish("FAILED")
        raise
    wall_s, device_s = time.monotonic() - began, trained_s * shared.training.launch.fewest_workers
    run.log(step, {**metrics, "stopped": float(stopped), "wall_s": wall_s, "device_s": device_s})
    trial = Trial(setting, seed, metrics, checkpoint, run.run_id, step, stopped, wall_s, device_s)
    shared.book.finish(trial)
    run.finish()
    return trial


def _train(shared: Shared, setting: Setting, seed: int, run: TrackedRun) -> tuple[str, int, bool]:
    """Train to the end, or as far as the trial is among the better half: checkpoint, steps, whether it was stopped."""
    if shared.search.scheduler == "grid":
        done = [_train_stage(shared, setting, seed, run)]
        for index in shared.stages[1:]:
            done.append(_train_later_stage(shared, setting, seed, run, index, done[-1].checkpoint))
        return done[-1].checkpoint, sum(each.step for each in done), False
    folder, (thread, training) = (
        join(shared.folder, setting.name(seed)),
        _in_thread(shared, setting, seed, run),
    )
    for rung in rungs(shared.steps):
        _wait_for(folder, rung, training)
        checkpoint = join(folder, checkpoint_name(rung))
        metrics = shared.score_at(rung, setting, seed, checkpoint)
        run.log(rung, metrics)
        others = shared.book.others_at(rung, setting, seed, shared.search.metric)
        better = shared.number.more_is_better is True
        if not goes_on(metrics[shared.search.metric], others, better) and not training.done():
            _abort(thread, training)
            return checkpoint, rung, True
    last = training.result()
    return last.checkpoint, last.step, False


def _in_thread(
    shared: Shared, setting: Setting, seed: int, run: TrackedRun
) -> "tuple[threading.Thread, Future[Trained]]":
    """The training, going on beside whoever watches its checkpoints."""
    training: Future[Trained] = Future()

    def work() -> None:
        try:
            training.set_result(_train_stage(shared, setting, seed, run))
        except BaseException as error:
            training.set_exception(error)

    thread = threading.Thread(target=work, name="training", daemon=True)
    thread.start()
    return thread, training


def _abort(thread: threading.Thread, training: "Future[Trained]") -> None:
    """End a training as Ctrl-C would, and wait until it has given back what it held.

    Ray 2.60 hands its controller to nobody but its own handler of Ctrl-C, which only a main thread can have; and a
    controller that dies with its owner leaves its CPUs reserved (ray#54305). So the handle is taken from where the
    thread waits for it.
    """
    frame = sys._current_frames().get(thread.ident or 0)
    while frame and "controller" not in frame.f_locals:
        frame = frame.f_back
    if frame:
        frame.f_locals["controller"].abort.remote()
        training.exception()  # that of the controller, which is gone


def _wait_for(folder: str, step: int, training: "Future[Trained]") -> None:
    """Until the run has committed the checkpoint after `step` steps; raises what ended the training before."""
    while not training.done():
        try:
            kept = latest_committed(folder)
        except UserError:  # Train is writing its book at this moment
            kept = None
        if kept and kept.step >= step:
            return
        time.sleep(0.5)
    training.result()


def _train_stage(shared: Shared, setting: Setting, seed: int, run: TrackedRun) -> Trained:
    """The searched stage, in the trial's own folder and tracked run."""
    training = trial_training(shared.training, shared.search, setting, seed)
    if shared.search.scheduler == "asha":  # checkpoints are compared, and all stay until they were
        every = max(1, shared.steps // 4)
        launch = replace(training.launch, checkpoint_every=every, keep_checkpoints=shared.steps // every + 1)
        training = replace(training, launch=launch)
    return _trained(shared, training, shared.stages[0], setting.name(seed), shared.start, run)


def _train_later_stage(
    shared: Shared, setting: Setting, seed: int, run: TrackedRun, index: int, start: str
) -> Trained:
    """A stage after it, beside the trial's folder and in a tracked run below the trial's."""
    training = trial_training(shared.training, shared.search, setting, seed)
    stage = training.stages[index].name
    own = run.start_child(stage)
    done = _trained(shared, training, index, f"{setting.name(seed)}-{stage}", start, own)
    own.finish()
    return done


def _trained(
    shared: Shared, training: Training, index: int, name: str, start: str | None, run: TrackedRun
) -> Trained:
    return train_stage(
        training,
        index,
        shared.streams,
        storage=shared.folder,
        run_name=name,
        start=start,
        run=run,
        lineage=shared.lineage(training),
        resources=shared.plan,
        session=shared.session,
    )
