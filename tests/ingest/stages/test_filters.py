"""What is set aside although it can be read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from ingest.records import Clip, Media, Reject, Utterance, stable_uid
from ingest.settings import Filters, Frames, Ingest
from ingest.stages.chain import ClipMaker
from ingest.stages.filters import EnoughMotion, EnoughSpeech, motion
from tests.ingest.clips import synthetic_clip
from tests.ingest.media_files import jpeg, write_video


def made(filters: Filters, *media: Media) -> list[str]:
    """ "clip" or the reason for each."""
    make = ClipMaker(Ingest(filters=filters, frames=Frames(candidates=8, short_side=32)), narrated=False)
    found = [item for medium in media for item in make(medium)]
    return [item.reason if isinstance(item, Reject) else "clip" for item in found]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Five seconds of 64 x 32 in which every frame differs from the one before."""
    path = write_video(tmp_path_factory.mktemp("filters") / "v.mp4")
    return Media(stable_uid("t", "v"), "t", "v.mp4", "video", str(path), captions=("a",))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), "clip"),
        (Filters(min_duration_s=4.9, max_duration_s=5.1, min_short_side=32), "clip"),
        (Filters(min_duration_s=5.5), "too_short"),
        (Filters(max_duration_s=4.5), "too_long"),
        (Filters(min_short_side=33), "too_small"),
    ],
)
def test_videos_are_kept_by_length_and_size(video: Media, filters: Filters, expected: str) -> None:
    assert made(filters, video) == [expected]


def test_images_are_kept_by_size() -> None:
    still = Media(
        stable_uid("t", "i"), "t", "i.jpg", "image", "i.jpg", payload=jpeg(side=20), captions=("a",)
    )
    assert made(Filters(min_short_side=20), still) == ["clip"]
    assert made(Filters(min_short_side=21), still) == ["too_small"]
    assert made(Filters(min_short_side=21), replace(still, payload=b"none")) == ["not_media"]


def test_a_clip_that_says_too_little_is_set_aside() -> None:
    clip = synthetic_clip(1)  # 4 transcripts of 4 words over 8 s
    assert EnoughSpeech(2.0)(clip) == clip
    found = EnoughSpeech(2.1)(clip)
    assert isinstance(found, Reject)
    assert (found.reason, found.detail) == (
        "little_speech",
        "0.0 to 8.0 s: 16 words in 8.0 s, 2.1 per second are asked",
    )
    silent = replace(clip, transcripts=(Utterance(" ", 0, 1),))
    assert isinstance(EnoughSpeech(0.1)(silent), Reject)


def test_motion_is_the_share_of_pixels_that_change_by_more_than_sixteen_levels() -> None:
    frames = [np.zeros((10, 10), np.uint8) for _ in range(3)]
    frames[1][:5] = 17
    frames[2][:5] = 17
    frames[2][5:] = 16
    assert motion(frames) == pytest.approx((0.5 + 0.0) / 2)


def test_a_noisy_still_is_static_and_a_small_moving_thing_is_not() -> None:
    assert isinstance(EnoughMotion(0.005)(_filmed(move=0)), Reject)
    assert isinstance(EnoughMotion(0.005)(_filmed(move=12)), Clip)


def _filmed(move: int) -> Clip:
    """Eight noisy frames of 160 x 120 with a square of 16 that moves this far from frame to frame."""
    rng = np.random.default_rng(0)
    frames = []
    for number in range(8):
        frame: NDArray[np.int64] = rng.normal(100, 3, (120, 160, 3)).astype(np.int64)
        frame[40:56, number * move : number * move + 16] = 220
        frames.append(simplejpeg.encode_jpeg(frame.clip(0, 255).astype(np.uint8), colorsubsampling="420"))
    return replace(synthetic_clip(0), frames=tuple(frames))


def test_what_comes_twice_in_an_input_shard_is_kept_once(video: Media, tmp_path: Path) -> None:
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(Path(video.uri).read_bytes())
    other = replace(video, uid=stable_uid("t", "copy"), uri=str(copy))
    assert made(Filters(), video, other, video) == ["clip", "clip", "repeated"]
    assert made(Filters(duplicates="content"), video, other, video) == ["clip", "repeated", "repeated"]


def test_equal_bytes_in_two_input_shards_have_clips_of_one_id(video: Media) -> None:
    other = replace(video, uid=stable_uid("t", "other"), key="other.mp4")
    settings = Ingest(filters=Filters(duplicates="content"), frames=Frames(candidates=2, short_side=32))
    one, two = (ClipMaker(settings, narrated=False)(media)[0] for media in (video, other))
    assert isinstance(one, Clip)
    assert isinstance(two, Clip)
    assert one.uid == two.uid
    assert one.media_uid != two.media_uid


def test_a_reject_carries_the_hash_of_the_bytes(video: Media, tmp_path: Path) -> None:
    import hashlib

    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no film")
    make = ClipMaker(Ingest(), narrated=False)
    (on_disk,) = make(replace(video, uri=str(broken)))
    (inside,) = make(replace(video, uid="b" * 20, payload=b"no film"))
    (absent,) = make(replace(video, uid="c" * 20, uri=str(tmp_path / "absent.mp4")))
    expected = hashlib.blake2b(b"no film", digest_size=20).hexdigest()
    assert [r.content for r in (on_disk, inside, absent) if isinstance(r, Reject)] == [expected, expected, ""]
