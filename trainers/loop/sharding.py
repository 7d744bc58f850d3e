"""A task shared by several workers (FSDP2), and what a worker takes of a checkpoint, whole tensors in both cases."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainers.checkpoints.checkpoint import Snapshot, State
from trainers.models.blocks import Blocks
from trainers.models.weights.names import check
from trainers.ranks import is_shared, num_ranks, own_rank, whole


def shard(task: nn.Module, low: bool) -> nn.Module:
    """Every worker keeps its share of every block and of what is outside the blocks; the task itself, changed.

    `low`: blocks compute in bf16, gradients are summed in fp32; what is outside (tables, projections, losses) stays in
    fp32. Build the optimiser afterwards: the parameters are others.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if low else MixedPrecisionPolicy()
    for block in [block for blocks in task.modules() if isinstance(blocks, Blocks) for block in blocks]:
        fully_shard(block, mp_policy=policy)
        if hasattr(block, "at"):
            register_fsdp_forward_method(block, "at")
    fully_shard(task)
    register_fsdp_forward_method(task, "probe")
    register_fsdp_forward_method(task, "features")
    return task


def snapshot(weights: Mapping[str, Tensor], state: State) -> Snapshot:
    """A copy in host memory that the next step does not change; of a sharded model this worker's part.

    All workers call it together: a shared tensor is gathered by all, and each keeps it whole when it is its turn.
    """
    if not any(is_shared(value) for value in weights.values()):
        return Snapshot(_to_host(dict(weights)), _to_host_state(state))
    part, parts = own_rank(), num_ranks()
    names = list(weights)
    moments = state.optimizer["state"]
    own = {**state.optimizer, "state": _turns(sorted(moments.items()), part, parts)}
    state = replace(state, optimizer=own, objectives=_turns(state.objectives.items(), part, parts))
    return Snapshot(
        _turns(weights.items(), part, parts),
        _to_host_state(state),
        part,
        tuple(tuple(names[first::parts]) for first in range(parts)),
    )


def _turns(entries: Iterable[tuple[Any, Any]], part: int, parts: int) -> dict[Any, Any]:
    kept = {}
    for number, (name, value) in enumerate(entries):
        entire = _whole(value)
        if number % parts == part:
            kept[name] = _to_host(entire)
    return kept


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _whole(inner) for name, inner in value.items()}
    return whole(value)


def _to_host_state(state: State) -> State:
    host = {name: _to_host(getattr(state, name)) for name in ("optimizer", "objectives")}
    return replace(state, **host)


def _to_host(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _to_host(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_to_host(inner) for inner in value]
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value


def load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Give an optimiser its saved state, of whole tensors; each worker takes its share of them."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    shared = {
        number: {name: _share(value, parameters[number]) for name, value in moments.items()}
        for number, moments in saved["state"].items()
    }
    optimizer.load_state_dict({**saved, "state": shared})


def load_objectives(objectives: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Give objectives their saved state, of whole tensors; each worker takes its share of them."""
    own = objectives.state_dict()
    check(saved, own, "the state of the objectives")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(_share(saved[name], value))


def _share(value: Any, parameter: Tensor) -> Any:
    """Each worker has the whole tensor and cuts out its share itself."""
    if not is_shared(parameter) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    mesh, placements = parameter.device_mesh, parameter.placements
    return distribute_tensor(value.to(parameter.device), mesh, placements, src_data_rank=None)
