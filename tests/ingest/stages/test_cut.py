"""Ways to cut: each clip's window and what is said in it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.records import Clip, Media, Reject, Utterance, Word, stable_uid
from ingest.settings import FixedWindows, RandomWindows, Sentences, Whole
from ingest.stages.cut import Cut, Way, draw_windows, transcript_windows


def medium(*times: tuple[float, float], duration_s: float = 15.5, words: bool = False) -> Media:
    """A video in which these sentences are said."""
    said = tuple(
        Utterance(f"sentence {n}.", start, end, spoken(n, start, end) if words else ())
        for n, (start, end) in enumerate(times)
    )
    uid = stable_uid("t", "x")
    return Media(
        uid, "t", "x.mp4", "video", "x.mp4", duration_s=duration_s, captions=("a",), utterances=said or None
    )


def spoken(number: int, start: float, end: float) -> tuple[Word, ...]:
    return Word("sentence", start, end), Word(f"{number}.", (start + end) / 2, end)


def clips(way: Way, media: Media, narrated: bool = True) -> list[Clip]:
    found = Cut(way, narrated)(media)
    assert isinstance(found, list), found
    return found


def reason(way: Way, media: Media) -> str:
    found = Cut(way, narrated=True)(media)
    assert isinstance(found, Reject), found
    return found.reason


def test_four_in_a_row_make_a_clip_and_a_long_silence_begins_anew() -> None:
    media = medium((0, 1), (1, 2), (10, 11), (11, 12), (12, 13), (13, 14), (14, 15), (15, 16))
    (clip,) = clips(Sentences(), media)
    assert (clip.start_s, clip.end_s) == (10, 14)
    assert media.utterances is not None
    assert clip.transcripts == media.utterances[2:6]
    assert clip.uid == stable_uid(clip.media_uid, 10_000, 14_000)


def test_too_few_utterances_are_set_aside() -> None:
    assert reason(Sentences(), medium((0, 1), (1, 2), (2, 3))) == "few_utterances"
    assert reason(Sentences(), medium()) == "few_utterances"


def test_what_is_said_after_the_last_picture_makes_no_clip() -> None:
    media = medium((0, 1), (1, 2), (2, 3), (3, 6), (6, 7), duration_s=5.0)
    (clip,) = clips(Sentences(), media)
    assert (clip.start_s, clip.end_s) == (0, 5.0)
    assert reason(Sentences(transcripts=5), media) == "few_utterances"


def test_sentences_are_joined_until_a_transcript_lasts_long_enough() -> None:
    media = medium((0, 1), (1, 2), (2, 3), (3, 6), (6, 7), (7, 8), words=True)
    (clip,) = clips(Sentences(transcripts=2, min_transcript_s=3.0), media)
    assert [(said.text, said.start_s, said.end_s) for said in clip.transcripts] == [
        ("sentence 0. sentence 1. sentence 2.", 0, 3),
        ("sentence 3.", 3, 6),
    ]
    assert [len(said.words) for said in clip.transcripts] == [6, 2]


def test_a_captioned_medium_is_one_clip_or_windows_end_to_end() -> None:
    media = medium(duration_s=25.0)
    (whole,) = clips(Whole(), media, narrated=False)
    assert (whole.start_s, whole.end_s, whole.captions) == (0.0, 25.0, ("a",))
    way = FixedWindows(window_s=10.0)
    assert [(c.start_s, c.end_s) for c in clips(way, media, narrated=False)] == [(0, 10), (10, 20), (20, 25)]
    short = medium(duration_s=24.0)
    assert [(c.start_s, c.end_s) for c in clips(way, short, narrated=False)] == [(0, 10), (10, 20)]
    assert [(c.start_s, c.end_s) for c in clips(way, medium(duration_s=3.0), False)] == [(0, 3)]


def test_fixed_windows_of_speech_have_equal_parts_and_silent_ones_are_left_out() -> None:
    media = medium((0, 2), (4, 6), (9, 11), duration_s=24.0, words=True)
    (clip,) = clips(FixedWindows(window_s=12.0, transcripts=3), media)
    assert [(said.text, said.start_s, said.end_s) for said in clip.transcripts] == [
        ("sentence 0.", 0.0, 4.0),
        ("sentence 1.", 4.0, 8.0),
        ("sentence 2.", 8.0, 12.0),
    ]
    assert reason(FixedWindows(), medium((30, 31))) == "no_words"


def test_words_without_times_share_their_sentence_by_letters() -> None:
    # "sentence 0." has 8 + 1 and 2 + 1 letters and blanks: its second word begins after nine twelfths
    (clip,) = clips(FixedWindows(window_s=12.0, transcripts=2), medium((0, 12), duration_s=12.0))
    assert [said.text for said in clip.transcripts] == ["sentence", "0."]
    assert clip.transcripts[1].words == (Word("0.", 9.0, 12.0),)


def test_drawn_windows_are_those_of_the_paper_and_the_same_every_time() -> None:
    media = medium(*((n, n + 1) for n in range(60)), duration_s=60.9, words=True)
    way = RandomWindows(draws=6, seed=3)
    drawn = clips(way, media)
    assert drawn == clips(way, media)
    assert drawn != clips(RandomWindows(draws=6, seed=4), media)
    generator = np.random.default_rng((3, int(media.uid, 16)))
    windows = sorted(transcript_windows(60, draw_windows(60, generator)) for _ in range(6))
    assert [[(s.start_s, s.end_s) for s in clip.transcripts] for clip in drawn] == windows
    assert [(clip.start_s, clip.end_s) for clip in drawn] == [(w[0][0], w[-1][1]) for w in windows]
    said = drawn[0].transcripts[1]
    assert said.text == "".join(f"{word.text} " for word in said.words)
    assert all(said.start_s < word.start_s < said.end_s for word in said.words)
    assert len({clip.uid for clip in drawn}) == 6


def test_a_short_video_has_one_place_for_its_windows_and_a_shorter_one_none() -> None:
    assert len(clips(RandomWindows(draws=5), medium((0, 1), duration_s=9.0))) == 1
    assert reason(RandomWindows(), medium((0, 1), duration_s=4.9)) == "too_short"


@given(st.integers(5, 400), st.integers(0, 1000))
def test_drawn_windows_lie_inside_the_video_in_order(duration_s: int, seed: int) -> None:
    windows = transcript_windows(duration_s, draw_windows(duration_s, np.random.default_rng(seed)))
    borders = [border for window in windows for border in window]
    assert borders == sorted(borders)
    assert borders[0] >= 0
    assert borders[-1] <= duration_s - 1 + 1e-9
