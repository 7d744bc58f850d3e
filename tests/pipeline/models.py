"""The smallest model that has every part."""

from trainers.recipe import Model, Pixels, SortingHead, TextTower, VideoTower

TINY = Model(
    embedding=16,
    video=VideoTower(image_size=16, patch_size=8, width=16, layers=1, heads=2, max_frames=4),
    text=TextTower(context=16, width=16, layers=1, heads=2),
    sorting=SortingHead(transcripts=4, depth=1, heads=2),
)
TINY_PIXELS = Pixels(short_side=16, crop=16)
