"""Pools worked out from a cluster's numbers, and plans that are refused before anything starts."""

import pytest

from infra.errors import UserError
from ingest.cluster.pools import Node, plan_pools
from ingest.settings import Pool, Pools

LAPTOP = [Node(4)]
SERVERS = [Node(16, memory_mb=64_000)] * 2
GPUS = [Node(16, num_gpus=1, memory_mb=64_000), *SERVERS]


def sizes(pools: Pools) -> list[tuple[int, int]]:
    return [(pool.min_actors, pool.max_actors) for pool in (pools.speech, pools.decode)]


def test_speech_may_grow_to_half_of_the_cpus_and_decoding_has_what_it_leaves() -> None:
    assert sizes(plan_pools(LAPTOP, Pools(), True, 0.25, 3)) == [(1, 1), (2, 2)]
    assert sizes(plan_pools(SERVERS, Pools(), True, 1.0, 31)) == [(1, 15), (16, 30)]
    assert sizes(plan_pools(SERVERS, Pools(), False, 1.0, 31))[1] == (31, 31)
    wide = Pools(speech=Pool(num_cpus=4))
    assert sizes(plan_pools(SERVERS, wide, True, 1.0, 31)) == [(1, 3), (19, 27)]


def test_speech_on_gpus_has_as_many_actors_as_the_gpus_hold_and_none_are_asked_for_where_none_are() -> None:
    on_gpus = plan_pools(GPUS, Pools(), True, 1.0, 47)
    assert sizes(on_gpus) == [(1, 2), (45, 46)]
    assert (on_gpus.speech.num_gpus, on_gpus.decode.num_gpus) == (0.5, 0.0)
    assert plan_pools(SERVERS, Pools(), True, 1.0, 31).speech.num_gpus == 0.0


def test_memory_bounds_a_pool() -> None:
    large = Pools(speech=Pool(memory_mb=30_000))
    assert sizes(plan_pools(SERVERS, large, True, 1.0, 31))[0] == (1, 4)


def test_sizes_asked_for_are_kept() -> None:
    asked = Pools(speech=Pool(min_actors=2, max_actors=3), decode=Pool(max_actors=100))
    assert sizes(plan_pools(SERVERS, asked, True, 1.0, 31)) == [(2, 3), (28, 100)]
    assert sizes(plan_pools(LAPTOP, Pools(decode=Pool(min_actors=6)), False, 0.25, 3))[1] == (6, 6)


@pytest.mark.parametrize(
    ("speech", "sentence"),
    [
        (Pool(num_cpus=20), r"one actor of ingest\.pools\.speech needs 20 CPUs on one node and the largest of 3 nodes "
         r"has 16 CPUs; lower ingest\.pools\.speech\.num_cpus"),
        (Pool(num_gpus=2), r"needs 1 CPUs and 2 GPUs .* has 16 CPUs and 1 GPUs; lower ingest\.pools\.speech\.num_gpus"),
        (Pool(memory_mb=70_000), r"70000 MiB .* lower ingest\.pools\.speech\.memory_mb"),
        (Pool(min_actors=3, num_gpus=0.5), r"starts 3 actors of 1 CPUs and 0\.5 GPUs each and the cluster has room for "
         r"2 .* lower ingest\.pools\.speech\.min_actors"),
        (Pool(min_actors=47), r"smallest pools need 48 CPUs \(speech 47 x 1 and decode 1 x 1\), 1 must be left to Ray "
         r"Data's own tasks, and the cluster has 48; lower ingest\.pools\.speech\.min_actors or \.num_cpus"),
    ],
)  # fmt: skip
def test_a_plan_that_would_wait_for_ever_is_refused_with_its_numbers(speech: Pool, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        plan_pools(GPUS, Pools(speech=speech), True, 1.0, 47)


def test_two_pools_that_fit_alone_and_not_together_are_refused() -> None:
    both = Pools(Pool(min_actors=3, memory_mb=40_000), Pool(min_actors=2, memory_mb=40_000))
    sentence = r"need 200000 MiB \(speech 3 x 40000 and decode 2 x 40000\), and the cluster has 192000; lower"
    with pytest.raises(UserError, match=sentence):
        plan_pools(GPUS, both, True, 1.0, 47)


def test_numbers_that_contradict_each_other_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="min_actors 3 is above max_actors 2"):
        Pool(min_actors=3, max_actors=2)
    with pytest.raises(ValueError, match=r"num_gpus 1\.5 is neither"):
        Pool(num_gpus=1.5)
