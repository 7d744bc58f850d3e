"""Checkpoints are scored in a Ray task validation_config the training, which waits for none of them before its end."""

from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayTaskError
from ray.train.v2.api.config import CheckpointConfig
from ray.train.v2.api.validation_config import ValidationConfig

from infra.cpus import CpuPlan
from infra.errors import UserError, reason_of
from infra.objects import join
from infra.session import Session
from infra.tracking import TrackedRun
from trainers.checkpoints.run_folder import Committed, all_committed, checkpoint_step
from trainers.cluster.job import StageJob
from trainers.evaluation.validation import FAILED, PREFIX, Validation
from trainers.launch_settings import Launch

RANK = "validation_rank"
"""More is better whatever the score: where less is, Ray takes a checkpoint that has no score for the best."""


@dataclass(frozen=True)
class Scoring:
    """Scores a checkpoint of a run and tells the tracker."""

    folder: str
    validation: Validation
    run: TrackedRun

    def __call__(self, checkpoint: Any, **_: Any) -> dict[str, Any]:
        """The scores of Ray Train's checkpoint, or in their place what went wrong: Ray itself would only log it."""
        uri = join(self.folder, checkpoint.path.rstrip("/").rpartition("/")[2])
        try:
            found = self.scores(uri)
        except (
            Exception
        ) as error:  # the training goes on; `result_checkpoint` tries those kept again and raises
            self.run.log(checkpoint_step(uri), {FAILED: 1.0})
            return {FAILED: reason_of(error)}
        best = self.validation.best
        return {**found, RANK: best.rank(found)} if best else dict(found)

    def scores(self, uri: str) -> dict[str, float]:
        """The scores of the checkpoint at a URI. UserError where the deciding one is not among them."""
        found = {PREFIX + name: float(value) for name, value in self.validation.score(uri).items()}
        best = self.validation.best
        if best and PREFIX + best.score not in found:
            names = ", ".join(name.removeprefix(PREFIX) for name in found)
            raise UserError(f"validation.best: there is no score {best.score!r}; there are {names}")
        self.run.log(checkpoint_step(uri), found | {FAILED: 0.0})
        return found


def validation_config(job: StageJob) -> ValidationConfig | None:
    """Train runs one such task at a time and waits for the last at the end; what a kill ended is begun again."""
    if job.validation is None:
        return None
    scoring = Scoring(job.folder, job.validation, job.run)
    return ValidationConfig(scoring, ray_remote_kwargs=_declared(job.validation))


def checkpoint_config(job: StageJob) -> CheckpointConfig:
    """The newest checkpoints, or the best; the newest is always among them."""
    count = job.training.launch.keep_checkpoints
    if job.validation is None or job.validation.best is None:
        return CheckpointConfig(num_to_keep=count)
    return CheckpointConfig(count, RANK, "max")


def result_checkpoint(job: StageJob) -> Committed:
    """The last checkpoint of a finished stage, or the best of those kept; scores that are missing are taken now."""
    kept = all_committed(job.folder)
    if job.validation is None:
        return kept[-1]
    scoring = Scoring(job.folder, job.validation, job.run)
    scored = [_scored(each, scoring) if job.validates(each.step) else each for each in kept]
    return job.validation.best.of(scored) if job.validation.best else scored[-1]


def _scored(kept: Committed, scoring: Scoring) -> Committed:
    """A checkpoint with its scores, if need be taken now: a kill can come before them, and a try can fail."""
    if scoring.validation.has_scored(kept):
        return kept
    try:
        found = ray.get(ray.remote(**_declared(scoring.validation))(_scores_of).remote(scoring, kept.uri))
    except RayTaskError as error:
        raise UserError(f"{kept.uri} could not be scored: {reason_of(error)}") from error
    return replace(kept, metrics=kept.metrics | found)


def _scores_of(scoring: Scoring, uri: str) -> dict[str, float]:
    return scoring.scores(uri)


def _declared(validation: Validation) -> dict[str, Any]:
    return {"num_cpus": validation.num_cpus, "num_gpus": validation.num_gpus}


def check_gpus(validation: Validation | None, launch: Launch, plan: CpuPlan, session: Session) -> None:
    """UserError where validation would wait for a GPU until the training ends."""
    wanted = validation.num_gpus if validation else 0.0
    taken = launch.fewest_workers * plan.gpu if launch.on_gpu(session.num_gpus) else 0.0
    if wanted and taken + wanted > session.num_gpus:
        raise UserError(
            f"validation.num_gpus {wanted:g} and {taken:g} of the training workers are more than the cluster's "
            f"{session.num_gpus:g} GPUs; lower launch.workers, or score on CPUs with validation.num_gpus 0"
        )
