"""The toy's score: texts look for their film by words and films apart, then the nearest few pairs are read together."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from trainers.evaluation.protocol import Declared, HeldOut, Measured, Protocol, Round, Rounds

Plan = tuple[tuple[tuple[int, ...], ...], tuple[frozenset[str], ...]]
"""The words of every text, and the films that each is read together with."""
FAR = -1e9


@dataclass(frozen=True)
class Apart:
    """`film` and `text` features, and `ids`. The model offers `film` and `words`."""

    def __call__(self, loaded: Any) -> Callable[[Any], Mapping[str, NDArray[Any]]]:
        def collect(shown: Any) -> dict[str, NDArray[Any]]:
            ids = shown.batch.inputs.ids
            film, text = loaded.model.film(shown.pixels).mean(1), loaded.model.words(ids).mean(1)
            return {"film": film.cpu().numpy(), "text": text.cpu().numpy(), "ids": ids.cpu().numpy()}

        return collect


@dataclass(frozen=True)
class Together:
    """`score` [clips, texts] of a film with the planned texts, FAR with the others. The model offers `fuse`."""

    plan: Plan

    def __call__(self, loaded: Any) -> Callable[[Any], Mapping[str, NDArray[Any]]]:
        import torch

        texts, films = self.plan
        model, ids = loaded.model, torch.tensor(texts, device=loaded.device)

        def collect(shown: Any) -> dict[str, NDArray[Any]]:
            scores = np.full((len(shown.media_uids), len(texts)), FAR, np.float32)
            for row, uid in enumerate(shown.media_uids):
                wanted = [number for number, near in enumerate(films) if uid in near]
                if wanted:
                    film = model.film(shown.pixels[row : row + 1]).expand(len(wanted), -1, -1)
                    fused = model.fuse(film, ids[wanted])
                    agree = (fused[:, : film.shape[1]].mean(1) * fused[:, film.shape[1] :].mean(1)).sum(-1)
                    scores[row, wanted] = agree.cpu().numpy()
            return {"score": scores}

        return collect


@dataclass(frozen=True)
class Reranked(Protocol):
    """Texts that find their own film first, before and after the nearest `nearest` are read together with it."""

    reads_captions: ClassVar[bool] = False

    kind: Literal["toy_reranked"] = "toy_reranked"
    nearest: int = 3

    def declares(self, held_out: HeldOut) -> tuple[Declared, ...]:
        title = "Texts that find their film"
        return (
            Declared("apart/first", "words and film apart", title),
            Declared(
                "reranked/first",
                f"the {self.nearest} nearest read together",
                title,
                leading=True,
                sentence="Toy: {hits:.3g} of {trials} texts find their film first, {level}.",
            ),
        )

    def rounds(self, held_out: HeldOut) -> Rounds:
        apart = (yield Round((held_out.stream,), Apart()))[held_out.stream]
        near = apart["text"] @ apart["film"].T
        films = [
            frozenset(apart["media_uid"][number] for number in row.argsort()[::-1][: self.nearest])
            for row in near
        ]
        plan = tuple(tuple(row.tolist()) for row in apart["ids"]), tuple(films)
        together = (yield Round((held_out.stream,), Together(plan)))[held_out.stream]
        return near, together["score"].T

    def score(self, held_out: HeldOut, found: Any, before: Any) -> tuple[Measured, ...]:
        own = np.arange(len(found[0]))
        shares = [100 * float((scores.argmax(1) == own).mean()) for scores in found]
        declared = self.declares(held_out)
        return tuple(
            Measured(each, share, 100 / len(own), len(own))
            for each, share in zip(declared, shares, strict=True)
        )
