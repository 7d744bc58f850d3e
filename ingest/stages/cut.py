"""Media to the windows that become clips; the settings name the way."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.records import Clip, Media, Reject, Utterance, Word, stable_uid
from ingest.settings import FixedWindows, RandomWindows, Sentences, Whole

K = 4
GAP_S = 1.0

Way = Sentences | RandomWindows | FixedWindows | Whole


@dataclass(frozen=True)
class Cut:
    """Clips of a medium, without frames: of a narrated one by what is said, of a captioned one by time alone."""

    way: Way
    narrated: bool

    def __call__(self, media: Media) -> list[Clip] | Reject:
        """The clips, in order of time. Rejects: few_utterances, no_words, too_short."""
        said = media.utterances or ()
        match self.way:
            case Whole():
                return [_clip(media, 0.0, media.duration_s or 0.0)]
            case Sentences():
                return _by_sentences(media, said, self.way)
            case RandomWindows():
                return _by_draw(media, list(words_of(said)), self.way)
            case FixedWindows() if self.narrated and media.kind == "video":
                return _by_time(media, list(words_of(said)), self.way)
            case FixedWindows():
                windows = fixed_windows(media.duration_s or 0.0, self.way.window_s)
                return [_clip(media, start, end) for start, end in windows]


def _by_sentences(media: Media, said: Sequence[Utterance], way: Sentences) -> list[Clip] | Reject:
    """K consecutive transcripts with no silence longer than `max_gap_s` inside; each belongs to one clip at most."""
    length = media.duration_s or float("inf")  # what is said after the last picture belongs to none
    runs = list(_runs([said for said in said if said.start_s < length], way.max_gap_s))
    parts = [list(_joined(run, way.min_transcript_s)) for run in runs]
    groups = [
        part[start : start + way.transcripts]
        for part in parts
        for start in range(0, len(part) - way.transcripts + 1, way.transcripts)
    ]
    if not groups:
        detail = (
            f"{sum(map(len, parts))} transcripts in {len(parts)} runs, {way.transcripts} in a row are needed"
        )
        return _reject(media, "few_utterances", detail)
    return [_clip(media, group[0].start_s, min(group[-1].end_s, length), group) for group in groups]


def _runs(said: Sequence[Utterance], max_gap_s: float) -> Iterator[list[Utterance]]:
    """Utterances without a long silence between them."""
    run: list[Utterance] = []
    for utterance in said:
        if run and utterance.start_s - run[-1].end_s > max_gap_s:
            yield run
            run = []
        run.append(utterance)
    if run:
        yield run


def _joined(run: Sequence[Utterance], min_s: float) -> Iterator[Utterance]:
    """Whole utterances joined until they last long enough; too short a rest belongs to none."""
    held: list[Utterance] = []
    for utterance in run:
        held.append(utterance)
        if utterance.end_s - held[0].start_s >= min_s:
            words = tuple(word for one in held for word in one.words)
            text = " ".join(one.text for one in held)
            yield Utterance(text, held[0].start_s, utterance.end_s, words, utterance.origin)
            held = []


def _by_draw(media: Media, words: Sequence[Word], way: RandomWindows) -> list[Clip] | Reject:
    """Candidates of TVTSv2's draw, each place once; texts may be empty, as in the paper."""
    generator = np.random.default_rng((way.seed, int(media.uid, 16)))
    length = int(media.duration_s or 0)
    drawn = (draw_windows(length, generator, way.transcripts) for _ in range(way.draws))
    windows = [transcript_windows(length, draw, way.transcripts) for draw in drawn]
    places = {
        tuple(window): None for window in windows if window[0][1] > window[0][0]
    }  # a short video has one place only
    if not places:
        return _reject(media, "too_short", f"{length} s are too few for {way.transcripts} windows")
    origin = media.utterances[0].origin if media.utterances else "provider"
    clips = []
    for window in places:
        inside = [tuple(word for word in words if low < word.start_s < high) for low, high in window]
        texts = transcripts(words, window)
        said = [
            Utterance(text, *part, spoken, origin)
            for text, part, spoken in zip(texts, window, inside, strict=True)
        ]
        clips.append(_clip(media, window[0][0], window[-1][1], said))
    return sorted(clips, key=lambda clip: clip.start_s)


def _by_time(media: Media, words: Sequence[Word], way: FixedWindows) -> list[Clip] | Reject:
    """Clips of one length in which something is said; a word belongs to the part that it begins in."""
    origin = media.utterances[0].origin if media.utterances else "provider"
    clips = []
    for start, end in fixed_windows(media.duration_s or 0.0, way.window_s):
        said = []
        for low, high in equal_parts(start, end, way.transcripts):
            inside = tuple(word for word in words if low <= word.start_s < high)
            said.append(Utterance(" ".join(word.text for word in inside), low, high, inside, origin))
        if any(utterance.text for utterance in said):
            clips.append(_clip(media, start, end, said))
    return clips or _reject(media, "no_words", f"{len(words)} words, none before the end of the video")


def _clip(media: Media, start_s: float, end_s: float, said: Sequence[Utterance] = ()) -> Clip:
    window = (round(start_s * 1000), round(end_s * 1000))
    return Clip(
        uid=stable_uid(media.uid, *window),
        media_uid=media.uid,
        source=media.source,
        kind=media.kind,
        uri=media.uri,
        start_s=start_s,
        end_s=end_s,
        captions=media.captions,
        label=media.label,
        transcripts=tuple(said),
    )


def _reject(media: Media, reason: str, detail: str) -> Reject:
    return Reject(media.uid, "cut", reason, detail, media.source, media.uri)


@dataclass(frozen=True)
class WindowDraw:
    """The three random draws of one sample: seconds per window, and the start as integer part and fraction."""

    seconds: int
    start: int
    fraction: float


def draw_windows(duration_s: int, generator: np.random.Generator, count: int = K) -> WindowDraw:
    """Draw for a video of this many whole seconds; one too short for the windows starts at 0."""
    seconds = int(generator.integers(3, 6))
    latest = duration_s - _total_s(seconds, count) - 1
    if latest < 0:
        return WindowDraw(seconds, 0, 0.0)
    return WindowDraw(seconds, int(generator.integers(0, latest + 1)), float(generator.uniform()))


def transcript_windows(duration_s: int, draw: WindowDraw, count: int = K) -> list[tuple[float, float]]:
    """Start and end in seconds of the windows; they shrink where the end of the video cuts them.

    Those of a video of hardly more than the gaps between them have no length left, or less.
    """
    total = _total_s(draw.seconds, count)
    start = draw.start + draw.fraction
    end = min(duration_s - 1, start + total)
    if duration_s - total - 1 < 0:
        start, end = 0.0, duration_s - 1
    length = (end - start - GAP_S * (count - 1)) / count
    starts = [start + number * (length + GAP_S) for number in range(count)]
    return [(begin, begin + length) for begin in starts]


def transcripts(words: Sequence[Word], windows: Sequence[tuple[float, float]]) -> list[str]:
    """The text of each window: aligned words strictly inside, each (an empty one too) followed by a blank."""
    return ["".join(f"{word.text} " for word in words if low < word.start_s < high) for low, high in windows]


def fixed_windows(duration_s: float, window_s: float) -> list[tuple[float, float]]:
    """Windows end to end; the last may be shorter by half, and a medium shorter than one is one."""
    count = max(1, int(duration_s / window_s + 0.5))
    return [(number * window_s, min((number + 1) * window_s, duration_s)) for number in range(count)]


def equal_parts(start_s: float, end_s: float, count: int) -> list[tuple[float, float]]:
    """A window in parts of one length."""
    borders = np.linspace(start_s, end_s, count + 1).tolist()
    return list(itertools.pairwise(borders))


def words_of(utterances: Sequence[Utterance]) -> Iterator[Word]:
    """All words in order; those of an utterance without word times share its time by their letters."""
    for utterance in utterances:
        yield from utterance.words or _shared_out(utterance)


def _shared_out(utterance: Utterance) -> Iterator[Word]:
    texts = utterance.text.split()
    letters = np.cumsum([0, *(len(text) + 1 for text in texts)])
    seconds = (utterance.end_s - utterance.start_s) / max(int(letters[-1]), 1)
    for text, first, last in zip(texts, letters[:-1].tolist(), letters[1:].tolist(), strict=True):
        yield Word(text, utterance.start_s + first * seconds, utterance.start_s + last * seconds)


def _total_s(seconds: int, count: int) -> int:
    return count * seconds + int(GAP_S) * (count - 1)
