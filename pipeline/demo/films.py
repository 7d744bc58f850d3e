"""One video of the demo: events drawn, told by a narrator if wanted, and written as an mp4 (H.264, AAC)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.demo.grammar import Event, narration
from pipeline.demo.scenes import Canvas, Picture, video_frames
from pipeline.demo.voice import NARRATORS, SAMPLE_RATE, Speaker, Speech, SpokenWord, speak

_X264 = {"preset": "ultrafast", "crf": "20"}
_AAC = {"aac_coder": "fast"}


@dataclass(frozen=True)
class Narration:
    """The sound of a whole video: samples (float32, 16 kHz), and where its words and sentences begin."""

    samples: NDArray[np.float32]
    words: tuple[SpokenWord, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Film:
    """A video to be made. Its seed decides backgrounds, places and the narrator."""

    path: Path
    events: tuple[Event, ...]
    seed: tuple[int, ...]
    spoken: bool = False
    annotation: Path | None = None
    """Where its transcript goes, if it has one."""


def make_film(film: Film, canvas: Canvas) -> None:
    """Draw, tell and write a film, and its transcript."""
    rng = np.random.default_rng(film.seed)
    frames = video_frames(film.events, canvas, rng)
    if not film.spoken:
        write_mp4(film.path, frames, canvas)
        return
    speaker = NARRATORS[int(rng.integers(len(NARRATORS)))]
    sound = narrate(film.events, canvas, speaker, rng)
    write_mp4(film.path, frames, canvas, sound.samples)
    if film.annotation is not None:
        transcript = annotation(film.path.stem, sound, len(film.events) * canvas.event_s)
        film.annotation.parent.mkdir(parents=True, exist_ok=True)
        film.annotation.write_text(json.dumps(transcript))


def narrate(events: Sequence[Event], canvas: Canvas, speaker: Speaker, rng: np.random.Generator) -> Narration:
    """Say each event's sentence while the event is on screen."""
    samples = np.zeros(round(len(events) * canvas.event_s * SAMPLE_RATE), np.float32)
    words: list[SpokenWord] = []
    for index, event in enumerate(events):
        speech = _said(narration(event), speaker)
        spare_s = canvas.event_s - speech.duration_s
        begin_s = index * canvas.event_s + rng.uniform(0.2, 0.7) * spare_s
        begin = round(begin_s * SAMPLE_RATE)
        samples[begin : begin + len(speech.samples)] = speech.samples
        words += [SpokenWord(word.text, begin_s + word.start_s) for word in speech.words]
    return Narration(samples, tuple(words), tuple(narration(event) for event in events))


def write_mp4(
    path: Path,
    frames: Iterable[Picture],
    canvas: Canvas,
    samples: NDArray[np.float32] | None = None,
    container_options: Mapping[str, str] | None = None,
) -> None:
    """Encode frames, sound, or both (no frames: an empty iterable). Same input, same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = list(frames)
    with av.open(str(path), "w", format="mp4", container_options=dict(container_options or {})) as container:
        video = _video_stream(container, canvas) if frames else None
        audio = _audio_stream(container) if samples is not None else None
        if video is not None:
            for frame in frames:
                container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(video.encode(None))
        if audio is not None and samples is not None:
            container.mux(audio.encode(_audio_frame(samples)))
            container.mux(audio.encode(None))


def annotation(uid: str, sound: Narration, duration_s: float) -> dict[str, object]:
    """The transcript as YT-Temporal's annotation files hold it: raw words with times, and punctuated text."""
    return {
        "info": {"id": uid, "title": "", "duration": round(duration_s)},
        "subtitles": [
            {"word": word.text.lower().strip("."), "time": round(word.start_s, 3)} for word in sound.words
        ],
        "denoised": [{"cleanasr": sentence} for sentence in sound.sentences],
    }


@cache
def _said(sentence: str, speaker: Speaker) -> Speech:
    return speak(sentence, speaker)


def _video_stream(container: av.container.OutputContainer, canvas: Canvas) -> av.VideoStream:
    options = {**_X264, "g": str(canvas.frame_rate)}  # a key frame a second: seeking stays cheap
    stream = container.add_stream("libx264", rate=canvas.frame_rate, options=options)
    stream.width = stream.height = canvas.size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = 1  # the bytes depend on the number of threads
    return stream


def _audio_stream(container: av.container.OutputContainer) -> av.AudioStream:
    stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options=_AAC)
    stream.bit_rate = 32_000
    return stream


def _audio_frame(samples: NDArray[np.float32]) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate = SAMPLE_RATE
    return frame
