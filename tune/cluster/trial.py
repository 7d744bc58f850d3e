"""What one trial does in its process: train, score, write down. It stops its own training; nobody else knows of it."""

import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace

from infra.cpus import CpuPlan
from infra.errors import UserError
from infra.objects import join
from infra.session import Session
from infra.tracking import TrackedRun
from trainers.checkpoints.run_folder import checkpoint_name, latest_committed
from trainers.cluster.job import StageJob
from trainers.cluster.launch import Trained, train_stage
from tune.cluster.job import SearchJob
from tune.halving import goes_on, rungs
from tune.results import Trial
from tune.settings import Setting, trial_training
from tune.trial_journal import Started


@dataclass(frozen=True)
class TrialRun:
    """One setting and seed of a search, its tracked run, and its share of the cluster."""

    job: SearchJob
    setting: Setting
    seed: int
    run: TrackedRun
    plan: CpuPlan
    session: Session

    @property
    def name(self) -> str:
        """The trial's."""
        return self.setting.name(self.seed)

    def score_at(self, step: int, checkpoint: str) -> dict[str, float]:
        """Its metrics after some steps, taken once."""
        return self.job.score_at(step, self.setting, self.seed, checkpoint)


def train_and_score(job: SearchJob, setting: Setting, seed: int, plan: CpuPlan, session: Session) -> Trial:
    """Train and score one setting and seed, and write down what was found."""
    varied = {**setting.values, **({"variant": setting.variant} if setting.variant else {}), "seed": seed}
    run = job.run.start_child(setting.name(seed), varied, {"trial": setting.name(seed)})
    trial = TrialRun(job, setting, seed, run, plan, session)
    job.journal.start(Started(setting, seed, run.run_id))
    began = time.monotonic()
    try:
        checkpoint, step, stopped = _train(trial)
        trained_s = time.monotonic() - began
        metrics = trial.score_at(step, checkpoint)
    except Exception:
        run.finish("FAILED")
        raise
    wall_s, device_s = time.monotonic() - began, trained_s * job.training.launch.fewest_workers
    run.log(step, {**metrics, "stopped": float(stopped), "wall_s": wall_s, "device_s": device_s})
    found = Trial(setting, seed, metrics, checkpoint, run.run_id, step, stopped, wall_s, device_s)
    job.journal.finish(found)
    run.finish()
    return found


def _train(trial: TrialRun) -> tuple[str, int, bool]:
    """Train to the end, or as far as the trial is among the better half: checkpoint, steps, whether it was stopped."""
    job = trial.job
    if job.search.scheduler == "grid":
        done = [_train_stage(trial)]
        for index in job.stages[1:]:
            done.append(_train_later_stage(trial, index, done[-1].checkpoint))
        return done[-1].checkpoint, sum(each.step for each in done), False
    folder, (thread, training) = join(job.folder, trial.name), _in_thread(trial)
    for rung in rungs(job.steps):
        _wait_for(folder, rung, training)
        checkpoint = join(folder, checkpoint_name(rung))
        metrics = trial.score_at(rung, checkpoint)
        trial.run.log(rung, metrics)
        others = job.journal.others_at(rung, trial.setting, trial.seed, job.search.metric)
        better = job.number.more_is_better is True
        if not goes_on(metrics[job.search.metric], others, better) and not training.done():
            _abort(thread, training)
            return checkpoint, rung, True
    last = training.result()
    return last.checkpoint, last.step, False


def _in_thread(trial: TrialRun) -> "tuple[threading.Thread, Future[Trained]]":
    """The training, going on beside whoever watches its checkpoints."""
    training: Future[Trained] = Future()

    def work() -> None:
        try:
            training.set_result(_train_stage(trial))
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


def _train_stage(trial: TrialRun) -> Trained:
    """The searched stage, in the trial's own folder and tracked run."""
    job = trial.job
    training = trial_training(job.training, job.search, trial.setting, trial.seed)
    if job.search.scheduler == "asha":  # checkpoints are compared, and all stay until they were
        every = max(1, job.steps // 4)
        launch = replace(training.launch, checkpoint_every=every, keep_checkpoints=job.steps // every + 1)
        training = replace(training, launch=launch)
    own = StageJob(
        training, job.stages[0], join(job.folder, trial.name), trial.run, job.start, job.lineage(training)
    )
    return train_stage(own, job.streams, trial.plan, trial.session)


def _train_later_stage(trial: TrialRun, index: int, start: str) -> Trained:
    """A stage after it, beside the trial's folder and in a tracked run below the trial's."""
    job = trial.job
    training = trial_training(job.training, job.search, trial.setting, trial.seed)
    stage = training.stages[index].name
    run = trial.run.start_child(stage)
    folder = join(job.folder, f"{trial.name}-{stage}")
    own = StageJob(training, index, folder, run, start, job.lineage(training))
    done = train_stage(own, job.streams, trial.plan, trial.session)
    run.finish()
    return done
