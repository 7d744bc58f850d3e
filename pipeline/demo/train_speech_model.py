"""Train the demo's speech model: a tiny Whisper that knows the narrator's sentences and nothing else.

    python -m pipeline.demo.train_speech_model --out speech_model.bin --minutes 70

Teacher forcing in three phases, short windows first: cross attention locks on within seconds of sound or not
at all, and short windows cost a tenth of long ones. Their place inside Whisper's 30 seconds is drawn at
random, which teaches all timestamps early; the last phase is what inference sees, 30 seconds with padding.
The output is written now and then, in the last phase when recognition is better than ever before: stop the script
whenever you like. On a shared machine set OMP_WAIT_POLICY=PASSIVE: threads that wait then cost nothing.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
import whisper
from torch import Tensor
from whisper.model import Whisper
from whisper.tokenizer import Tokenizer

from pipeline.demo.speech_learner import Vocabulary, draw_batch, fresh_model, load_state, loss_of, whole_state
from pipeline.demo.speech_model import DIMENSIONS, pack, unpack
from pipeline.demo.speech_scores import SpeechScore, score
from pipeline.demo.speech_windows import (
    WHOLE_WINDOW_S,
    Lesson,
    NarratedWindow,
    draw_window,
    english_tokenizer,
    mel_of,
    spoken_phrases,
)

log = logging.getLogger("train_speech_model")

FINAL = Lesson(duration_s=WHOLE_WINDOW_S, max_sentences=11, prompt_share=0.1)


@dataclass(frozen=True)
class Phase:
    """A share of the training time spent on one kind of window."""

    lesson: Lesson
    batch_size: int
    until: float
    """Share of the whole time at which the phase ends."""


PHASES = (
    Phase(Lesson(duration_s=4.0, max_sentences=1, cut_share=0.0), batch_size=32, until=0.07),
    Phase(Lesson(duration_s=10.0, max_sentences=5), batch_size=24, until=0.3),
    Phase(FINAL, batch_size=16, until=1.0),
)


@dataclass(frozen=True)
class Settings:
    """Train the speech model of the demo."""

    out: Path
    """Where the packed model goes."""
    minutes: float = 70.0
    """Processor time of all threads; the curriculum and the learning rate follow it."""
    learning_rate: float = 1e-3
    """Highest learning rate, after the warm-up."""
    threads: int = 2
    """CPU threads."""
    evaluate_every_s: float = 240.0
    """Seconds of processor time between evaluations on 30-second windows."""
    start_from: Path | None = None
    """A packed model to go on from; none starts afresh."""
    first_phase: int = 0
    """The phase to begin with: 0 short windows, 1 longer ones, 2 whole windows."""
    seed: int = 0
    """Seed of weights and windows."""


def evaluate(
    state: dict[str, Tensor], windows: Sequence[NarratedWindow], tokenizer: Tokenizer
) -> SpeechScore:
    """Recognise windows as the product does, through whisper's own decoding."""
    model = Whisper(DIMENSIONS).eval()
    model.load_state_dict(state)
    options = whisper.DecodingOptions(language="en", temperature=0, fp16=False)
    results = whisper.decode(model, torch.stack([mel_of(window) for window in windows]), options)
    return score([window.sentences for window in windows], results, tokenizer)


def learning_rate(progress: float, highest: float) -> float:
    """Warm-up over the first 2 % of the time, then a cosine to 2 % of the highest rate."""
    if progress < 0.02:
        return highest * max(progress / 0.02, 0.01)
    return highest * (0.02 + 0.98 * (1 + math.cos(math.pi * min(progress, 1.0))) / 2)


def held_out_windows(count: int) -> list[NarratedWindow]:
    """Windows at a rate and a pitch between those trained on, each sentence whole."""
    rng = np.random.default_rng(10_000)
    phrases = spoken_phrases(rate_changes=(5,), pitch_changes=(3,))
    lesson = Lesson(WHOLE_WINDOW_S, FINAL.max_sentences, cut_share=0.0, silent_share=0.0)
    return [draw_window(rng, phrases, lesson) for _ in range(count)]


class Keeper:
    """Writes the model: in the last phase the one with the fewest word errors on held-out windows."""

    def __init__(self, out: Path, vocabulary: Vocabulary) -> None:
        self._out, self._vocabulary = out, vocabulary
        self._windows = held_out_windows(48)
        self._fewest_errors = math.inf

    def keep(self, model: Whisper, last_phase: bool) -> None:
        state = whole_state(model, self._vocabulary)
        if last_phase:
            result = evaluate(state, self._windows, self._vocabulary.tokenizer)
            log.info("held out: %s", result)
            if result.word_error_rate > self._fewest_errors:
                return
            self._fewest_errors = result.word_error_rate
        pack(state, self._vocabulary.tokens, self._out)


def train(settings: Settings) -> None:
    """Train until the time is over."""
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    rng = np.random.default_rng(settings.seed)
    vocabulary = Vocabulary(english_tokenizer())
    model = fresh_model(vocabulary)
    if settings.start_from is not None:
        load_state(model, unpack(settings.start_from), vocabulary)
    log.info("speaking all sentences")
    phrases = spoken_phrases(rate_changes=(-10, 0, 10), pitch_changes=(-6, 0, 6))
    keeper = Keeper(settings.out, vocabulary)
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    started = kept = time.process_time()
    mean_loss, step, progress = 0.0, 0, 0.0
    while progress < 1.0:
        progress = (time.process_time() - started) / (60 * settings.minutes)
        phase = phase_at(progress, settings.first_phase)
        set_learning_rate(optimizer, learning_rate(progress, settings.learning_rate))
        loss = loss_of(
            model, draw_batch(rng, phrases, phase.lesson, phase.batch_size, vocabulary), vocabulary
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        mean_loss += max(0.02, 1 / step) * (loss.item() - mean_loss)
        if step % 50 == 0:
            window_s = phase.lesson.duration_s
            log.info(
                "%5.1f %%  step %5d  window %2.0f s  loss %.4f", 100 * progress, step, window_s, mean_loss
            )
        if progress >= 1.0 or time.process_time() - kept > settings.evaluate_every_s:
            keeper.keep(model, phase is PHASES[-1])
            kept = time.process_time()


def phase_at(progress: float, first: int) -> Phase:
    """The phase for a share of the time, none before the `first`."""
    phases = PHASES[first:]
    return next((phase for phase in phases if progress < phase.until), phases[-1])


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(tyro.cli(Settings))
