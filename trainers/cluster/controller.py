"""What Ray Train's controller decides by our rules: how many workers run, and which errors end a run at once.

Ray 2.60 has no public place for either rule, so `Trainer` hands them to its controller in place of the defaults.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.train import UserCallback
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy, FailureDecision
from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy
from ray.train.v2.api.config import FailureConfig, ScalingConfig
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError
from ray.train.v2.torch.torch_trainer import TorchTrainer

from infra.cpus import CpuPlan, most_workers
from infra.errors import is_permanent
from infra.session import SESSION_ENV
from trainers.checkpoints.run_folder import copy_book


class Trainer(TorchTrainer):
    """A TorchTrainer whose controller follows our policies."""

    policies: dict[str, Any]
    """Arguments of the controller, by name; to be set before `fit`."""

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        """Ray's own, but the controller shares the environment of its session, and so do all processes below it.

        Ray gives every controller an environment, and a process of another environment than the idle ones is started
        anew, in two steps; each stage and trial has ten such processes.
        """
        further = {k: v for k, v in get_env_vars_to_propagate().items() if k not in SESSION_ENV}
        options: dict[str, Any] = {"runtime_env": {"env_vars": further}} if further else {}
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}  # as Ray's own is attached
        actor: Any = ray.remote(num_cpus=0, label_selector=here, **options)(Controller)
        controller = actor.remote(**settings | self.policies)
        if threading.current_thread() is threading.main_thread():
            self._register_sigint_handler(controller)
        ray.get(controller.run.remote())
        return ray.get(controller.get_result.remote())


class Controller(TrainController):
    """Forgets the variables of the session once it has read them: what is set here, training workers get an
    environment of their own for."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name in SESSION_ENV:
            os.environ.pop(name, None)


class AllowedCounts(ElasticScalingPolicy):
    """Ray's elastic policy, of whose counts only those are taken that share every global batch equally.

    Ray's own takes any number between its two ends, as many workers as the nodes have CPUs (and GPUs) for: also the
    readers' CPUs, and numbers for which there are no equal shares.
    """

    def __init__(self, scaling: ScalingConfig, counts: Sequence[int], plan: CpuPlan) -> None:
        super().__init__(scaling)
        self._counts, self._plan = tuple(counts), plan

    def _count_possible_workers(self, reserved_resources: Any) -> int:
        room = most_workers(ray.cluster_resources().get("CPU", 0.0), self._plan)
        return largest(self._counts, min(room, super()._count_possible_workers(reserved_resources)))


def largest(counts: Sequence[int], room: int) -> int:
    """The largest of the counts for which there is room; 0 where there is room for none."""
    return max((count for count in counts if count <= room), default=0)


class NoRetryOfPermanent(DefaultFailurePolicy):
    """Ray's failure policy, but an error that would come again ends the run instead of using up `max_failures`."""

    def __init__(self, max_failures: int) -> None:
        super().__init__(FailureConfig(max_failures=max_failures))

    def make_decision(self, training_failed_error: TrainingFailedError) -> Any:
        """See the class."""
        if _would_come_again(training_failed_error):
            return FailureDecision.RAISE
        return super().make_decision(training_failed_error)


class BookCopy(UserCallback):
    """Keeps a copy of Train's book of checkpoints, which Train writes in place."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def after_report(self, run_context: Any, metrics: Any, checkpoint: Any) -> None:
        """Called when a checkpoint is committed."""
        copy_book(self._folder)


def failures_of(error: TrainingFailedError) -> list[Exception]:
    """What went wrong in the workers, or in Train's controller."""
    if isinstance(error, ControllerError):
        return [error.controller_failure]
    return list(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else [error]


def _would_come_again(error: TrainingFailedError) -> bool:
    """Where a worker died, what the others say is a consequence."""
    failures = failures_of(error)
    died = any(isinstance(failure, RayActorError | WorkerHealthCheckFailedError) for failure in failures)
    return not died and any(is_permanent(failure) for failure in failures)
