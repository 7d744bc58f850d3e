"""A function in a few processes that talk over gloo, as training workers do."""

import os
import socket
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing


def in_two_ranks(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """`function(rank, *arguments)` of both ranks; it must be importable, its answers plain or numpy."""
    return in_ranks(2, function, *arguments)


def in_ranks(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The same of `count` ranks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with torch.multiprocessing.Manager() as manager:
        answers = manager.dict()
        torch.multiprocessing.spawn(_rank, (count, port, function, arguments, answers), nprocs=count)
        return [answers[rank] for rank in range(count)]


def _rank(
    rank: int, count: int, port: int, function: Callable[..., Any], arguments: Any, answers: Any
) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=count)
    answers[rank] = function(rank, *arguments)
    dist.destroy_process_group()
