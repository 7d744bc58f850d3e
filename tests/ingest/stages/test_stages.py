"""Stages over real files, one medium at a time."""

from dataclasses import replace
from pathlib import Path

import pytest

from infra.errors import StorageError
from ingest.records import Clip, Media, Reject, Utterance, stable_uid
from ingest.settings import Frames, Ingest
from ingest.stages.chain import ClipMaker, guarded
from pipeline.demo.broken import BREAKAGES
from tests.ingest.media_files import jpeg, numbers_of, write_video

SETTINGS = Ingest(frames=Frames(candidates=8, short_side=32, memory_mb=2048))


def media(path: Path, **changes: object) -> Media:
    made = Media(stable_uid("t", path.name), "t", path.name, "video", str(path), captions=("a caption",))
    return replace(made, **changes)  # type: ignore[arg-type]


def said(*times: tuple[float, float]) -> tuple[Utterance, ...]:
    return tuple(Utterance(f"sentence {n}.", start, end) for n, (start, end) in enumerate(times))


def test_a_captioned_video_is_one_clip_over_the_whole(tmp_path: Path) -> None:
    (clip,) = ClipMaker(SETTINGS, narrated=False)(media(write_video(tmp_path / "v.mp4")))
    assert isinstance(clip, Clip)
    assert (clip.start_s, clip.end_s, clip.captions) == (0.0, pytest.approx(5.0), ("a caption",))
    assert numbers_of(clip.frames) == [2, 7, 12, 17, 22, 27, 32, 37]
    assert clip.frame_times_s == pytest.approx([n / 8 for n in (2, 7, 12, 17, 22, 27, 32, 37)])


def test_a_narrated_video_gives_the_frames_of_its_windows(tmp_path: Path) -> None:
    told = said(*((n / 2, n / 2 + 0.5) for n in range(8)))
    made = ClipMaker(SETTINGS, narrated=True)(media(write_video(tmp_path / "v.mp4"), utterances=told))
    first, second = (clip for clip in made if isinstance(clip, Clip))
    assert numbers_of(first.frames) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert numbers_of(second.frames) == [16, 18, 20, 22, 24, 26, 28, 30]


def test_a_still_is_a_clip_of_one_frame() -> None:
    data = jpeg(side=32)
    still = replace(media(Path("a.jpg")), kind="image", payload=data)
    (clip,) = ClipMaker(SETTINGS, narrated=False)(still)
    assert isinstance(clip, Clip)
    assert (clip.frames, clip.frame_times_s, clip.kind) == ((data,), (0.0,), "image")


def test_what_cannot_be_used_becomes_one_reject_with_stage_and_reason(tmp_path: Path) -> None:
    found = {}
    for name, make in BREAKAGES.items():
        make(tmp_path / f"{name}.mp4")
        (found[name],) = ClipMaker(SETTINGS, narrated=False)(media(tmp_path / f"{name}.mp4"))
    (found["absent"],) = ClipMaker(SETTINGS, narrated=False)(media(tmp_path / "absent.mp4"))
    cut_off = replace(media(Path("a.jpg")), kind="image", payload=jpeg()[:80])
    (found["still"],) = ClipMaker(SETTINGS, narrated=False)(cut_off)
    assert {name: (r.stage, r.reason) for name, r in found.items() if isinstance(r, Reject)} == {
        "truncated": ("probe", "truncated"),
        "zero_bytes": ("probe", "empty"),
        "sound_only": ("probe", "no_video"),
        "not_a_video": ("probe", "not_media"),
        "overstated_length": ("probe", "wrong_length"),
        "absent": ("fetch", "missing"),
        "still": ("frames", "truncated"),
    }


def test_a_stage_that_breaks_costs_its_medium_and_a_store_that_fails_ends_the_run() -> None:
    def broken() -> Clip:
        raise ZeroDivisionError("by zero")

    def away() -> Clip:
        raise StorageError("s3://bucket: unreachable")

    found = guarded(media(Path("x.mp4")), "frames", broken)
    assert isinstance(found, Reject)
    assert (found.reason, found.detail) == ("unexpected", "ZeroDivisionError: by zero")
    with pytest.raises(StorageError):
        guarded(media(Path("x.mp4")), "frames", away)
