"""Examples for the demo's speech model: windows of narration as sound, and the tokens Whisper would say.

A window is some sentences of register A one after another, with gaps, noise and a gain of its own. Times are
snapped to tenths of a second, so that only 301 of Whisper's 1,501 timestamp tokens are in use.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from whisper.audio import HOP_LENGTH, log_mel_spectrogram
from whisper.tokenizer import Tokenizer, get_tokenizer

from pipeline.demo.grammar import ALL_EVENTS, narration
from pipeline.demo.voice import NARRATORS, SAMPLE_RATE, Speaker, speak

WHOLE_WINDOW_S = 30.0
TIME_STEP_S = 0.1
_TOKENS_PER_STEP = 5  # Whisper's own timestamp tokens lie 0.02 s apart
IGNORED = -100  # cross entropy's mark for a position that is not learnt


@dataclass(frozen=True)
class Phrase:
    """One spoken sentence: its text and its samples (int16, 16 kHz), silence at both ends removed."""

    text: str
    samples: NDArray[np.int16]


@dataclass(frozen=True)
class Sentence:
    """A sentence placed in a window."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class NarratedWindow:
    """Sound of a given length and the sentences in it; the last may be cut by the end (`end_s` beyond it)."""

    samples: NDArray[np.float32]
    sentences: tuple[Sentence, ...]
    recorded_s: float
    """Where the recording ends and padding begins."""
    blank: bool = False
    """Whether the padding is the spectrogram's, as `whisper.transcribe` pads, not silence in the sound."""

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Lesson:
    """What windows are drawn: length, most sentences, and the shares of special ones (see `NarratedWindow`)."""

    duration_s: float
    max_sentences: int
    cut_share: float = 0.05
    silent_share: float = 0.03
    blank_share: float = 0.4
    prompt_share: float = 0.0


def english_tokenizer() -> Tokenizer:
    return get_tokenizer(multilingual=False)


def spoken_phrases(rate_changes: Sequence[int], pitch_changes: Sequence[int]) -> list[Phrase]:
    """Every sentence by every narrator, at each change of rate and pitch."""
    speakers = [
        Speaker(n.voice, n.rate + rate, n.pitch + pitch, n.pitch_range)
        for n, rate, pitch in product(NARRATORS, rate_changes, pitch_changes)
    ]
    return [_phrase(narration(event), speaker) for speaker, event in product(speakers, ALL_EVENTS)]


def draw_window(rng: np.random.Generator, phrases: Sequence[Phrase], lesson: Lesson) -> NarratedWindow:
    """Sentences by one narrator or several, from a random start to a random end of the window."""
    samples = np.zeros(int(lesson.duration_s * SAMPLE_RATE), np.float32)
    if rng.random() < lesson.silent_share:
        return NarratedWindow(_recorded(rng, samples, len(samples)), (), lesson.duration_s)
    cut = rng.random() < lesson.cut_share
    placed: list[Sentence] = []
    begin_s = _lead_s(rng)
    for _ in range(int(rng.integers(1, lesson.max_sentences + 1))):
        phrase = phrases[int(rng.integers(len(phrases)))]
        end_s = begin_s + len(phrase.samples) / SAMPLE_RATE
        if end_s > lesson.duration_s and not (cut and begin_s < lesson.duration_s - 0.3):
            break
        _add(samples, phrase.samples, begin_s)
        placed.append(Sentence(phrase.text, begin_s, end_s))
        begin_s = end_s + _gap_s(rng)
    recorded_s = min((placed[-1].end_s if placed else 0.0) + rng.uniform(0.0, 1.0), lesson.duration_s)
    samples = _recorded(rng, samples, int(recorded_s * SAMPLE_RATE))
    return NarratedWindow(samples, tuple(placed), recorded_s, blank=rng.random() < lesson.blank_share)


def mel_of(window: NarratedWindow) -> Tensor:
    """Whisper's log mel spectrogram of a window, (80, frames)."""
    mel: Tensor = log_mel_spectrogram(torch.from_numpy(window.samples))
    mel = mel[:, : len(window.samples) // HOP_LENGTH]
    if window.blank:
        mel[:, int(window.recorded_s * SAMPLE_RATE) // HOP_LENGTH :] = 0
    return mel


def tokens_of(window: NarratedWindow, tokenizer: Tokenizer, offset_s: float = 0.0) -> list[int]:
    """What Whisper should say after its start token; times count from `offset_s` before the window.

    A sentence that the window's end cuts is announced by its start alone, as Whisper does. A window without a
    sentence is "no speech", then (were a first timestamp forced) the end.
    """
    if not window.sentences:
        return [tokenizer.no_speech, tokenizer.eot]
    tokens: list[int] = []
    for sentence in window.sentences:
        tokens.append(_time_token(sentence.start_s + offset_s, tokenizer))
        if sentence.end_s <= window.duration_s:
            tokens += tokenizer.encode(" " + sentence.text)
            tokens.append(_time_token(sentence.end_s + offset_s, tokenizer))
    return [*tokens, tokenizer.eot]


def used_tokens(tokenizer: Tokenizer) -> list[int]:
    """Every token the model may be given or may say, in rising order."""
    words = {token for event in ALL_EVENTS for token in tokenizer.encode(" " + narration(event))}
    specials = {
        tokenizer.eot,
        tokenizer.sot,
        tokenizer.sot_prev,
        tokenizer.no_speech,
        tokenizer.no_timestamps,
    }
    times = range(tokenizer.timestamp_begin, tokenizer.timestamp_begin + 1501, _TOKENS_PER_STEP)
    return sorted(words | specials | set(times))


def _phrase(text: str, speaker: Speaker) -> Phrase:
    samples = speak(text, speaker).samples
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return Phrase(text, (samples[loud[0] : loud[-1] + 1] * 32767).astype(np.int16))


def _time_token(time_s: float, tokenizer: Tokenizer) -> int:
    step = min(max(round(time_s / TIME_STEP_S), 0), 300)
    return int(tokenizer.timestamp_begin) + step * _TOKENS_PER_STEP


def _lead_s(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.0, 0.6) if rng.random() < 0.8 else rng.uniform(0.6, 1.2))


def _gap_s(rng: np.random.Generator) -> float:
    return float(rng.uniform(0.05, 1.0) if rng.random() < 0.9 else rng.uniform(1.0, 4.0))


def _add(samples: NDArray[np.float32], phrase: NDArray[np.int16], begin_s: float) -> None:
    begin = int(begin_s * SAMPLE_RATE)
    room = samples[begin : begin + len(phrase)]
    room += phrase[: len(room)].astype(np.float32) / 32768


def _recorded(rng: np.random.Generator, samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Gain from -12 to +2 dB; noise up to where the recording ends, then digital silence (the padding)."""
    samples *= 10 ** rng.uniform(-0.6, 0.1)
    if rng.random() < 0.7:
        noise_level = math.exp(rng.uniform(math.log(1e-5), math.log(5e-3)))
        samples[:length] += rng.normal(0, noise_level, len(samples[:length])).astype(np.float32)
    return samples
