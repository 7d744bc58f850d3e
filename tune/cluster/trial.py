"""What one trial does in its process: train, score, write down."""

import time
from dataclasses import dataclass
from functools import partial

from infra.cpus import CpuPlan
from infra.objects import join
from infra.session import Session
from infra.tracking import TrackedRun
from trainers.cluster.job import StageJob
from trainers.cluster.launch import Trained, train_stage
from tune.cluster.job import SearchJob
from tune.halving import goes_on, halved
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
    return halved(job.steps, partial(_train_stage, trial), partial(_better, trial))


def _better(trial: TrialRun, rung: int, checkpoint: str) -> bool:
    """Whether a trial goes on from a rung, by its score there and those of the others that came so far."""
    search, metrics = trial.job.search, trial.score_at(rung, checkpoint)
    trial.run.log(rung, metrics)
    others = trial.job.journal.others_at(rung, trial.setting, trial.seed, search.metric)
    return goes_on(metrics[search.metric], others, trial.job.number.more_is_better is True)


def _train_stage(trial: TrialRun, until: int | None = None) -> Trained:
    """The searched stage, in the trial's own folder and tracked run."""
    job = trial.job
    training = trial_training(job.training, job.search, trial.setting, trial.seed)
    folder, lineage = join(job.folder, trial.name), job.lineage(training)
    own = StageJob(training, job.stages[0], folder, trial.run, job.start, lineage, until=until)
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
