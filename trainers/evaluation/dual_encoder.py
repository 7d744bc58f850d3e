"""What protocols collect of a dual encoder.

Its model offers `encode_video(pixels)`, which gives a record with `pooled` [b, d], and `encode_text(tokens)`, which
gives [n, d] for ids of CLIP's vocabulary; its settings say how long a text is, `text.context`. Features are not
normalised.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from trainers.data.tokenizers import ClipTokenizer
from trainers.evaluation.shown import Loaded, Shown
from trainers.models.towers.text import trim_padding

Collected = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Features:
    """ "video" [n, d], and for every register "texts/REGISTER" [n, d], the mean over a clip's texts, as in the
    contrastive objective."""

    def __call__(self, loaded: Loaded) -> Callable[[Shown], Collected]:
        """Nothing is prepared."""
        return _features


def _features(shown: Shown) -> Collected:
    captions, media_uids = shown.loaded.held_out.captions, shown.media_uids
    columns: Collected = {"video": as_array(encoded_video(shown).pooled)}
    for register in captions[media_uids[0]]:
        texts = [captions[uid][register] for uid in media_uids]
        columns[f"texts/{register}"] = _mean_texts(shown.loaded, texts)
    return columns


@dataclass(frozen=True)
class Prompted:
    """ "classes/SET" [n, classes]: the cosine of each clip with each prompt of a set."""

    classes: Mapping[str, Sequence[str]]

    def __call__(self, loaded: Loaded) -> Callable[[Shown], Collected]:
        """The prompts are encoded once."""
        prompts = {name: unit(encoded_texts(loaded, texts)).T for name, texts in self.classes.items()}

        def collected(shown: Shown) -> Collected:
            pooled = unit(encoded_video(shown).pooled)
            return {f"classes/{name}": as_array(pooled @ each) for name, each in prompts.items()}

        return collected


@dataclass(frozen=True)
class Sorted:
    """ "logits" [n, k, k] with a clip's own video and "control" [n, k, k] with the next one's of the batch, where row i
    says at which of the k places in time transcript i belongs; and which clips are "sorted", those with k transcripts,
    and which "controlled". The model offers `sort(video, texts)` beside."""

    count: int
    """k."""

    def __call__(self, loaded: Loaded) -> Callable[[Shown], Collected]:
        """Nothing is prepared."""
        return self._sorted

    def _sorted(self, shown: Shown) -> Collected:
        """Zeros where a clip is not sorted."""
        said = [[each["text"] for each in clip or ()] for clip in shown.rows["transcripts"].to_pylist()]
        sortable = np.array([len(texts) == self.count for texts in said])
        logits = np.zeros((2, len(said), self.count, self.count), np.float32)
        if sortable.any():
            texts = [text for own, fits in zip(said, sortable, strict=True) if fits for text in own]
            logits[:, sortable] = self._logits(shown, texts, sortable)
        strange = sortable & (sortable.sum() > 1)  # a clip that is alone in its batch would meet itself
        return {"logits": logits[0], "sorted": sortable, "control": logits[1], "controlled": strange}

    def _logits(self, shown: Shown, texts: Sequence[str], sortable: NDArray[np.bool_]) -> NDArray[np.float32]:
        features = encoded_texts(shown.loaded, texts).unflatten(0, (-1, self.count))
        own = encoded_video(shown).sequence[torch.from_numpy(sortable).to(shown.loaded.device)]
        return np.stack([as_array(shown.model.sorting(video, features)) for video in (own, own.roll(1, 0))])


def encoded_video(shown: Shown) -> Any:
    """What `encode_video` gives of the batch, computed once whoever collects."""
    return shown.once("encode_video", lambda: shown.model.encode_video(shown.pixels))


def encoded_texts(loaded: Loaded, texts: Sequence[str]) -> Tensor:
    """A feature per text."""
    context: int = loaded.system.text.context  # type: ignore[attr-defined]
    tokens = torch.from_numpy(ClipTokenizer(context)(texts))
    features: Tensor = loaded.model.encode_text(trim_padding(tokens).to(loaded.device))
    return features


def _mean_texts(loaded: Loaded, texts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """For each clip the mean of the features of its texts."""
    features = encoded_texts(loaded, [text for own in texts for text in own])
    parts = features.split([len(own) for own in texts])
    return as_array(torch.stack([part.mean(dim=0) for part in parts]))


def unit(features: Tensor) -> Tensor:
    """Rows of length one; lengths are clamped below at 1e-8."""
    return F.normalize(features, dim=-1, eps=1e-8)


def as_array(features: Tensor) -> NDArray[np.float32]:
    """On the host, in fp32."""
    found: NDArray[np.float32] = features.float().cpu().numpy()
    return found


def cosines(texts: NDArray[np.float32], videos: NDArray[np.float32]) -> Tensor:
    """Rows texts, columns videos."""
    return unit(torch.from_numpy(texts)) @ unit(torch.from_numpy(videos)).T


def kept_direction(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Mean cosine between features before and after: 1 where nothing moved."""
    return float((unit(torch.from_numpy(before)) * unit(torch.from_numpy(after))).sum(dim=1).mean())
