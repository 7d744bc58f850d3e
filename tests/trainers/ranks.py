"""A function in a few processes that talk over gloo, as training workers do.

They are forked from one process that has imported what training needs and done nothing else: two ranks that each import
torch anew take most of a test's time to do so.
"""

import os
import pickle
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing

_PRELOADED = [
    "torch.distributed.fsdp",
    "torch._dynamo",
    "trainers.loop.train",
    "trainers.systems.tvtsv2.system",
]


def in_two_ranks(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """`function(rank, *arguments)` of both ranks; it must be importable, its answers plain or numpy."""
    return in_ranks(2, function, *arguments)


def in_ranks(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The same of `count` ranks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = torch.multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with context.Manager() as manager:
        answers = manager.dict()
        torch.multiprocessing.start_processes(
            _rank,
            (count, port, pickle.dumps((function, arguments)), answers),
            nprocs=count,
            start_method="forkserver",
        )
        return [answers[rank] for rank in range(count)]


def _rank(rank: int, count: int, port: int, packed: bytes, answers: Any) -> None:
    """`packed`: the function and its arguments as bytes, since a forked process can be handed few shared tensors."""
    function, arguments = pickle.loads(packed)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=count)
    answers[rank] = function(rank, *arguments)
    dist.destroy_process_group()
