"""The rounds of several protocols with several models in step: what each model is to collect, until nobody asks for
more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainers.evaluation.protocol import Columns, HeldOut, Protocol, Round, Rounds

RoundsByModel = Mapping[str, Sequence[Round]]
"""By model, what is collected in one pass: no two rounds of a model are alike."""
Key = tuple[str, int]
"""A model, and the place of a protocol."""
Collected = Mapping[str, Sequence[Mapping[str, Columns]]]
"""By model, for each of its rounds, by stream."""


@dataclass(frozen=True)
class Found:
    """What all rounds found with one model."""

    by_protocol: tuple[Any, ...]
    """What each protocol is to score, in their order."""
    num_clips: int
    """Of the held-out stream, in the first pass."""


def in_rounds(
    protocols: Sequence[Protocol],
    models: Sequence[str],
    held_out: HeldOut,
    collect: Callable[[RoundsByModel], Collected],
) -> dict[str, Found]:
    """Every protocol's rounds with every model, as few passes as the longest has rounds; found by model."""
    running = {
        (model, place): protocol.rounds(held_out)
        for model in models
        for place, protocol in enumerate(protocols)
    }
    done: dict[Key, Any] = {}
    answers: dict[Key, Mapping[str, Columns] | None] = dict.fromkeys(running)
    num_clips: dict[str, int] = {}
    while asked := _next(running, answers, done):
        job: dict[str, list[Round]] = {}
        for (model, _), wanted in asked.items():
            job[model] = merged([*job.get(model, ()), wanted])
        collected = collect(job)
        answers = {key: _answer(each, job[key[0]], collected[key[0]]) for key, each in asked.items()}
        num_clips = num_clips or {model: _clips(found, held_out.stream) for model, found in collected.items()}
    return {
        model: Found(tuple(done[model, place] for place in range(len(protocols))), num_clips.get(model, 0))
        for model in models
    }


def _next(
    running: Mapping[Key, Rounds],
    answers: Mapping[Key, Mapping[str, Columns] | None],
    done: dict[Key, Any],
) -> dict[Key, Round]:
    """What is asked next; those that ask no more are done."""
    asked: dict[Key, Round] = {}
    for key, answer in answers.items():
        try:
            asked[key] = running[key].send(answer)  # type: ignore[arg-type]
        except StopIteration as end:
            done[key] = end.value
    return asked


def merged(rounds: Sequence[Round]) -> list[Round]:
    """Rounds that collect alike as one, with the streams of all."""
    found: list[Round] = []
    for each in rounds:
        place = _place(each, found)
        if place is None:
            found.append(each)
        else:
            streams = tuple(dict.fromkeys((*found[place].streams, *each.streams)))
            found[place] = replace(found[place], streams=streams)
    return found


def _place(wanted: Round, rounds: Sequence[Round]) -> int | None:
    return next((place for place, each in enumerate(rounds) if each.alike(wanted)), None)


def _answer(
    asked: Round, job: Sequence[Round], collected: Sequence[Mapping[str, Columns]]
) -> dict[str, Columns]:
    place = _place(asked, job)
    assert place is not None
    return {stream: collected[place][stream] for stream in asked.streams}


def _clips(collected: Sequence[Mapping[str, Columns]], stream: str) -> int:
    return max((len(found[stream]["uid"]) for found in collected if stream in found), default=0)
