"""Held-out clips as the tiny model is shown them."""

from collections.abc import Mapping

from pipeline.evaluation.cluster.embed import Gallery
from tests.trainers.tiny import PIXELS, SYSTEM
from trainers.evaluation.protocol import HeldOut
from trainers.recipe import Pixels


def tiny_gallery(
    store: str,
    captions: Mapping[str, Mapping[str, list[str]]],
    pixels: Pixels = PIXELS,
    batch_size: int = 8,
) -> Gallery:
    """The stream "test" of a store, four frames a clip."""
    return Gallery(HeldOut("test", SYSTEM, captions, {}), store, pixels, num_frames=4, batch_size=batch_size)
