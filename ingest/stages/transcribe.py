"""Media without a transcript get one: their speech goes through the engine in batches that mix media."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ingest import settings
from ingest.decode.isolation import Limits
from ingest.decode.sound import SAMPLE_RATE, extract_sound
from ingest.records import Media, Reject, stable_uid
from ingest.speech.engine import SpeechModel, SpeechWindow
from ingest.speech.sentences import sentences_of_segments
from ingest.speech.voice_activity import Span, speech_spans, windows
from ingest.stages.chain import guarded
from ingest.stages.fetch import local_file
from ingest.stages.filters import Fitting, Probe

if TYPE_CHECKING:  # seconds to import, and decoding actors need none of it
    from ingest.speech.recogniser import Recogniser, Transcript

_AHEAD = 4  # media whose sound is taken out while the engine works


@dataclass(frozen=True)
class Heard:
    """A medium and the windows in which somebody speaks."""

    media: Media
    windows: tuple[SpeechWindow, ...]


@dataclass(frozen=True)
class Transcribe:
    """Sound, voice activity, recognition, sentences. Media that have utterances pass as they are."""

    speech: settings.Speech
    limits: Limits
    fitting: Fitting = Fitting()

    def __call__(self, items: Iterable[Media | Reject]) -> Iterator[Media | Reject]:
        """The same media with utterances, or Rejects: unreadable, unfitting, no_sound, no_speech, language.

        Order may change."""
        waiting: list[Heard] = []
        for heard in _prefetched(items, self._hear):
            if not isinstance(heard, Heard):
                yield heard
                continue
            waiting.append(heard)
            if sum(len(item.windows) for item in waiting) >= self.speech.batch_windows:
                yield from self._recognised(waiting)
                waiting = []
        if waiting:
            yield from self._recognised(waiting)

    def _hear(self, item: Media | Reject) -> Media | Reject | Heard:
        if isinstance(item, Reject) or item.utterances is not None:
            return item
        # Whatever the sound's stages do not name is found while fetching.
        return guarded(item, "fetch", lambda: self._windows(item))

    def _windows(self, media: Media) -> Heard | Reject:
        with local_file(media) as path:
            probe = Probe(self.limits, self.fitting)  # what does not fit need not be heard
            probed = guarded(media, "probe", lambda: probe(media, path))
            if isinstance(probed, Reject):
                return probed
            if not probed.has_sound:
                return _reject(probed, "no_sound", "no sound track and no transcript")
            return guarded(
                media, "transcribe", lambda: self._cut(probed, extract_sound(path, self.speech.deadline_s))
            )

    def _cut(self, media: Media, samples: NDArray[np.int16]) -> Heard:
        spans = windows(speech_spans(samples), len(samples) / SAMPLE_RATE, self.speech.window_s)
        return Heard(media, tuple(_window(media, samples, span) for span in spans))

    def _recognised(self, heard: Sequence[Heard]) -> Iterator[Media | Reject]:
        engine = speech_engine(self.speech)
        transcripts = engine.transcripts([item.windows for item in heard])
        for item, transcript in zip(heard, transcripts, strict=True):
            with_utterances = partial(self._with_utterances, item, transcript, engine.origin)
            yield guarded(item.media, "transcribe", with_utterances)

    def _with_utterances(self, heard: Heard, transcript: "Transcript", origin: str) -> Media | Reject:
        if heard.windows and not transcript.wanted:
            language, allowed = transcript.language, ", ".join(self.speech.languages)
            detail = f"{language.code} is spoken (probability {language.probability:.2f}), wanted: {allowed}"
            return _reject(heard.media, "language", detail)
        utterances = sentences_of_segments(transcript.segments, origin)
        if not utterances:
            return _reject(heard.media, "no_speech", f"{len(heard.windows)} windows, no words")
        return replace(heard.media, utterances=utterances)


def _window(media: Media, samples: NDArray[np.int16], span: Span) -> SpeechWindow:
    part = samples[round(span.start_s * SAMPLE_RATE) : round(span.end_s * SAMPLE_RATE)]
    key = stable_uid(media.uid, round(span.start_s * 1000))
    return SpeechWindow(key, span.start_s, np.asarray(part / 32768, np.float32))


def _reject(media: Media, reason: str, detail: str) -> Reject:
    return Reject(media.uid, "transcribe", reason, detail, media.source, media.uri)


def _prefetched(
    items: Iterable[Media | Reject], work: Callable[[Media | Reject], Media | Reject | Heard]
) -> Iterator[Media | Reject | Heard]:
    """`work` of each item in order, done a few items ahead on threads."""
    ahead: deque[Future[Media | Reject | Heard]] = deque()
    with ThreadPoolExecutor(2) as pool:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def speech_engine(speech: settings.Speech) -> "Recogniser":
    """The engine of this process, loaded once."""
    return _engine_of(os.getpid(), speech)


@cache
def _engine_of(process: int, speech: settings.Speech) -> "Recogniser":
    from ingest.speech.recogniser import Recogniser

    return Recogniser(_model(speech), speech)


def _model(speech: settings.Speech) -> SpeechModel:
    if speech.engine == "faster-whisper":
        from ingest.speech.faster_whisper_engine import FasterWhisperModel

        return FasterWhisperModel(speech)
    from ingest.speech.whisper_engine import WhisperModel

    return WhisperModel(speech)
