"""Canaries: names of Ray's that no documentation promises. Where one is gone, the test says which file leaned on it."""

import importlib
import inspect
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.data

from infra import session

TRAIN = "ray.train.v2._internal"
ATTRIBUTES = [
    (
        "trainers/cluster/controller.py",
        "ray.train.v2.torch.torch_trainer:TorchTrainer._initialize_and_run_controller",
    ),
    (
        "trainers/cluster/controller.py",
        f"{TRAIN}.execution.scaling_policy:ElasticScalingPolicy._count_possible_workers",
    ),
    (
        "trainers/cluster/controller.py",
        f"{TRAIN}.execution.failure_handling:DefaultFailurePolicy.make_decision",
    ),
    ("trainers/cluster/controller.py", f"{TRAIN}.execution.failure_handling:FailureDecision.RAISE"),
    ("trainers/cluster/controller.py", f"{TRAIN}.exceptions:WorkerHealthCheckFailedError"),
    (
        "trainers/cluster/worker.py",
        f"{TRAIN}.execution.storage:StorageContext.build_checkpoint_path_from_name",
    ),
    ("ingest/cluster/units.py", "ray.data._internal.logical.interfaces:LogicalPlan.dag"),
    ("ingest/cluster/units.py", "ray.data:DataContext.raise_original_map_exception"),
]
PARAMETERS = [
    ("trainers/cluster/controller.py", f"{TRAIN}.execution.controller:TrainController", "failure_policy"),
    ("trainers/cluster/controller.py", f"{TRAIN}.execution.controller:TrainController", "scaling_policy"),
    ("infra/errors.py", f"{TRAIN}.exceptions:UserExceptionWithTraceback", "exc"),
    ("infra/errors.py", "ray.train.v2.api.exceptions:ControllerError", "controller_failure"),
    ("infra/errors.py", "ray.exceptions:RayTaskError", "cause"),
    (
        "ingest/cluster/units.py",
        "ray.data._internal.logical.operators.map_operator:StreamingRepartition",
        "compute",
    ),
    (
        "ingest/cluster/units.py",
        "ray.data._internal.logical.operators.map_operator:StreamingRepartition",
        "ray_remote_args",
    ),
]
BOOK = f"{TRAIN}.execution.checkpoint.checkpoint_manager"
FIELDS = [
    ("trainers/checkpoints/run_folder.py", f"{BOOK}:_CheckpointManagerState", "checkpoint_results"),
    ("trainers/checkpoints/run_folder.py", f"{BOOK}:_CheckpointManagerState", "checkpoint_report_indices"),
    ("trainers/checkpoints/run_folder.py", f"{BOOK}:_CheckpointManagerState", "latest_checkpoint_result"),
    ("trainers/checkpoints/run_folder.py", f"{BOOK}:_TrainingResultState", "checkpoint_dir_name"),
    ("trainers/checkpoints/run_folder.py", f"{BOOK}:_TrainingResultState", "metrics"),
]
FLAGS = [
    *(("infra/session.py", name) for name in (*session._TRAIN_ENV, *session._RAY_ENV)),
    ("infra/session.py", "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"),
    ("tune/cluster/search.py", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"),
    ("tune/cluster/search.py", "RAY_AIR_NEW_OUTPUT"),
]


def found(place: str) -> Any:
    """The thing at "module:name.name"; None where there is none."""
    module, _, names = place.partition(":")
    thing: Any = importlib.import_module(module)
    for name in names.split("."):
        thing = getattr(thing, name, None)
    return thing


def takes(place: str, parameter: str) -> bool:
    return parameter in inspect.signature(found(place).__init__).parameters


def has_field(place: str, name: str) -> bool:
    return name in found(place).__annotations__


@cache
def sources() -> bytes:
    """Ray's Python files, and the library that holds the flags of its core."""
    folder = Path(ray.__file__).parent
    files = [*folder.rglob("*.py"), *folder.glob("_raylet*.so")]
    return b"\n".join(file.read_bytes() for file in files if "tests" not in file.parts)


def is_read(flag: str) -> bool:
    """Whether Ray reads this variable; flags of its core are spelt there without RAY_."""
    return flag.encode() in sources() or (flag[4:].islower() and flag[4:].encode() in sources())


@pytest.mark.parametrize(("file", "place"), ATTRIBUTES)
def test_a_name_is_there(file: str, place: str) -> None:
    assert found(place) is not None, f"Ray has no {place} any more: mend {file}"
    assert found(f"{place}_renamed") is None


@pytest.mark.parametrize(("file", "place", "parameter"), PARAMETERS)
def test_a_parameter_is_there(file: str, place: str, parameter: str) -> None:
    assert takes(place, parameter), f"{place} takes no {parameter} any more: mend {file}"
    assert not takes(place, f"{parameter}_renamed")


@pytest.mark.parametrize(("file", "place", "name"), FIELDS)
def test_a_field_of_trains_book_of_checkpoints_is_there(file: str, place: str, name: str) -> None:
    assert has_field(place, name), f"{place} has no {name} any more: mend {file}"
    assert not has_field(place, f"{name}_renamed")


def test_a_dataset_keeps_its_logical_plan() -> None:
    assert "self._logical_plan = " in inspect.getsource(ray.data.Dataset.__init__), (
        "mend ingest/cluster/units.py"
    )


def test_trains_controller_is_started_as_ours_is() -> None:
    own = inspect.getsource(
        found("ray.train.v2.torch.torch_trainer:TorchTrainer._initialize_and_run_controller")
    )
    for line in (
        "get_env_vars_to_propagate()",
        "num_cpus=0",
        "label_selector={",
        ")(TrainController)",
        ".remote(**controller_init_kwargs)",
        "self._register_sigint_handler(controller)",
        "ray.get(controller.run.remote())",
        "return ray.get(controller.get_result.remote())",
    ):
        assert line in own, f"Ray's controller is started without {line}: mend trainers/cluster/controller.py"


def test_trains_book_lies_where_it_lay() -> None:
    from trainers.checkpoints.run_folder import SNAPSHOT

    assert found(f"{TRAIN}.constants:CHECKPOINT_MANAGER_SNAPSHOT_FILENAME") == SNAPSHOT


def test_an_error_of_a_worker_keeps_the_one_that_was_raised() -> None:
    kept = found(f"{TRAIN}.exceptions:UserExceptionWithTraceback")(ValueError("why"), "Traceback ...")
    assert str(kept._base_exc) == "why", "mend infra/errors.py: _CARRIERS"


@pytest.mark.parametrize(("file", "flag"), FLAGS)
def test_a_variable_is_read_by_ray(file: str, flag: str) -> None:
    assert is_read(flag), f"Ray does not read {flag} any more: mend {file}"
    assert not is_read(f"{flag}_renamed")
