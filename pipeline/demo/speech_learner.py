"""How the demo's speech model learns: only the used rows of Whisper's vocabulary, teacher-forced."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from whisper.model import AudioEncoder, Whisper
from whisper.tokenizer import Tokenizer

from pipeline.demo.speech_model import DIMENSIONS
from pipeline.demo.speech_windows import (
    IGNORED,
    WHOLE_WINDOW_S,
    Lesson,
    NarratedWindow,
    Phrase,
    draw_window,
    mel_of,
    tokens_of,
    used_tokens,
)


@dataclass(frozen=True)
class SpeechBatch:
    """Spectrograms (b, 80, frames); tokens given and wanted (b, t), as rows of the used vocabulary."""

    mels: Tensor
    inputs: Tensor
    targets: Tensor
    first_position: int
    """The audio position of the first frame: where the window lies inside the 30 seconds."""


class Vocabulary:
    """Numbers the used tokens 0, 1, …: only these rows of the embedding are trained."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.tokens = torch.tensor(used_tokens(tokenizer))
        self.row = {token: row for row, token in enumerate(self.tokens.tolist())}
        # Rows never used stay zero, so each of them has the logit 0: together ln(their number).
        self.unused_logit = math.log(DIMENSIONS.n_vocab - len(self.row))

    def rows(self, tokens: Sequence[int]) -> list[int]:
        return [self.row[token] for token in tokens]


def fresh_model(vocabulary: Vocabulary) -> Whisper:
    """Random weights; a timestamp's row starts as the audio position it names, so that time can be copied."""
    model = Whisper(DIMENSIONS)
    width = DIMENSIONS.n_text_state
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.02)
    rows = torch.randn(len(vocabulary.tokens), width) * 0.1
    times = vocabulary.tokens - vocabulary.tokenizer.timestamp_begin
    is_time = times >= 0
    rows[is_time] = model.encoder.positional_embedding[times[is_time].clamp(max=1499)] * 0.1
    model.decoder.token_embedding = torch.nn.Embedding.from_pretrained(rows, freeze=False)
    return model


def load_state(model: Whisper, state: dict[str, Tensor], vocabulary: Vocabulary) -> None:
    """Go on from weights with the full vocabulary."""
    name = "decoder.token_embedding.weight"
    model.load_state_dict({**state, name: state[name][vocabulary.tokens]})


def whole_state(model: Whisper, vocabulary: Vocabulary) -> dict[str, Tensor]:
    """The weights with the full vocabulary, as whisper loads them."""
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    rows = state["decoder.token_embedding.weight"]
    table = torch.zeros(DIMENSIONS.n_vocab, rows.shape[1])
    table[vocabulary.tokens] = rows
    state["decoder.token_embedding.weight"] = table
    return state


def draw_batch(
    rng: np.random.Generator, phrases: Sequence[Phrase], lesson: Lesson, size: int, vocabulary: Vocabulary
) -> SpeechBatch:
    """A batch of random windows; short ones lie anywhere inside the 30 seconds, all of a batch at one place."""
    windows = [draw_window(rng, phrases, lesson) for _ in range(size)]
    spare = int((WHOLE_WINDOW_S - lesson.duration_s) / 0.1)
    offset = int(rng.integers(spare + 1)) if spare else 0  # in tenths of a second, five positions each
    mels = torch.stack([mel_of(window) for window in windows])
    mels += torch.randn(mels.shape) * float(rng.uniform(0, 0.05))
    pairs = [_teacher_forced(rng, phrases, window, lesson, offset * 0.1, vocabulary) for window in windows]
    inputs = [torch.tensor(given) for given, _ in pairs]
    targets = [torch.tensor(wanted) for _, wanted in pairs]
    return SpeechBatch(
        mels,
        pad_sequence(inputs, batch_first=True),
        pad_sequence(targets, batch_first=True, padding_value=IGNORED),
        offset * 5,
    )


def loss_of(model: Whisper, batch: SpeechBatch, vocabulary: Vocabulary) -> Tensor:
    """Cross entropy over the used tokens and, as one more class, all unused ones."""
    audio = _encode(model.encoder, batch.mels, batch.first_position)
    logits = model.decoder(batch.inputs, audio)
    unused = logits.new_full((*logits.shape[:2], 1), vocabulary.unused_logit)
    return F.cross_entropy(torch.cat([logits, unused], -1).flatten(0, 1), batch.targets.flatten())


def _teacher_forced(
    rng: np.random.Generator,
    phrases: Sequence[Phrase],
    window: NarratedWindow,
    lesson: Lesson,
    offset_s: float,
    vocabulary: Vocabulary,
) -> tuple[list[int], list[int]]:
    """Rows given and rows wanted. Some windows follow the text of another, as in `whisper.transcribe`."""
    tokenizer = vocabulary.tokenizer
    wanted = tokens_of(window, tokenizer, offset_s)
    given = [tokenizer.sot, *wanted[:-1]]
    if not window.sentences:
        given[1] = tokenizer.timestamp_begin  # "no speech" is never said: decoding forces a time in its place
    prompt: list[int] = []
    if rng.random() < lesson.prompt_share:
        before = tokens_of(draw_window(rng, phrases, lesson), tokenizer)
        said = (token for token in before if token < tokenizer.eot or token >= tokenizer.timestamp_begin)
        prompt = [tokenizer.sot_prev, *said]
    rows = vocabulary.rows
    return rows([*prompt, *given]), [IGNORED] * len(prompt) + rows(wanted)


def _encode(encoder: AudioEncoder, mels: Tensor, first_position: int) -> Tensor:
    """`whisper.model.AudioEncoder.forward` for windows of any length at any place in the 30 seconds."""
    x = F.gelu(encoder.conv1(mels))
    x = F.gelu(encoder.conv2(x)).permute(0, 2, 1)
    x = x + encoder.positional_embedding[first_position : first_position + x.shape[1]]
    for block in encoder.blocks:
        x = block(x)
    encoded: Tensor = encoder.ln_post(x)
    return encoded
