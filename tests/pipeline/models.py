"""The smallest model that has every part, and held-out clips as it is shown them."""

from collections.abc import Mapping

from pipeline.evaluation.cluster.embed import Gallery
from trainers.evaluation.protocol import HeldOut
from trainers.models.sizes import SortingHead, TextTower, VideoTower
from trainers.recipe import Pixels
from trainers.systems.tvtsv2.settings import TVTSv2

TINY = TVTSv2(
    embedding=16,
    video=VideoTower(image_size=16, patch_size=8, width=16, layers=1, heads=2, max_frames=4),
    text=TextTower(context=16, width=16, layers=1, heads=2),
    sorting=SortingHead(transcripts=4, depth=1, heads=2),
)
TINY_PIXELS = Pixels(short_side=16, crop=16)


def tiny_gallery(
    store: str,
    captions: Mapping[str, Mapping[str, list[str]]],
    pixels: Pixels = TINY_PIXELS,
    batch_size: int = 8,
) -> Gallery:
    """The stream "test" of a store, four frames a clip."""
    return Gallery(HeldOut("test", TINY, captions, {}), store, pixels, num_frames=4, batch_size=batch_size)
