"""openai-whisper through its decoding interface: windows of many media in one batch."""

import functools
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError
from typing import Any

import torch
import whisper
from torch import Tensor
from whisper.decoding import DecodingOptions, DecodingResult
from whisper.tokenizer import Tokenizer, get_tokenizer

from infra import objects
from infra.errors import UserError
from ingest.records import stable_uid
from ingest.settings import Speech
from ingest.speech.engine import SpeechWindow
from ingest.speech.sentences import Segment

_TIME_TOKEN_S = 0.02
_LONGEST_S = 30.0


class WhisperEngine:
    """A loaded model. Checks and fallback are those of `whisper.transcribe`, seeded window by window."""

    def __init__(self, settings: Speech) -> None:
        self._settings = settings
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = _load(settings.model, self._device)
        self._tokenizer = get_tokenizer(
            self._model.is_multilingual, num_languages=self._model.num_languages, language=settings.language
        )

    @property
    def origin(self) -> str:
        """`whisper/` and the model's name."""
        return f"whisper/{PurePosixPath(self._settings.model).stem}"

    def recognise(self, windows: Sequence[SpeechWindow]) -> list[list[Segment]]:
        """Segments of each window, in the order given; times of the medium."""
        size = self._settings.batch_windows
        found: list[list[Segment]] = []
        for start in range(0, len(windows), size):
            batch = windows[start : start + size]
            mels = torch.stack([self._mel(window) for window in batch])
            first = self._decode(mels, self._settings.temperatures[0])
            for window, mel, result in zip(batch, mels, first, strict=True):
                found.append(self._segments(window, self._accepted(window, mel, result)))
        return found

    def _mel(self, window: SpeechWindow) -> Tensor:
        padded = whisper.pad_or_trim(torch.from_numpy(window.samples))
        mel: Tensor = whisper.log_mel_spectrogram(padded, self._model.dims.n_mels)
        return mel.to(self._device)

    def _decode(self, mels: Tensor, temperature: float) -> list[DecodingResult]:
        options = DecodingOptions(
            language=self._settings.language, temperature=temperature, fp16=self._device == "cuda"
        )
        results: list[DecodingResult] = whisper.decode(self._model, mels, options)
        return results

    def _accepted(self, window: SpeechWindow, mel: Tensor, result: DecodingResult) -> DecodingResult:
        """The first result that passes, temperature by temperature; the last where none does."""
        for temperature in self._settings.temperatures[1:]:
            if not self._fails(result):
                break
            with torch.random.fork_rng():
                torch.manual_seed(_seed(self._settings.seed, window.key, temperature))
                result = self._decode(mel[None], temperature)[0]
        return result

    def _fails(self, result: DecodingResult) -> bool:
        if result.no_speech_prob > self._settings.no_speech:
            return False  # silence is not improved by sampling
        repeats = result.compression_ratio > self._settings.compression_ratio
        return bool(repeats or result.avg_logprob < self._settings.logprob)

    def _segments(self, window: SpeechWindow, result: DecodingResult) -> list[Segment]:
        silent = result.no_speech_prob > self._settings.no_speech
        if silent and result.avg_logprob < self._settings.logprob:
            return []
        length_s = len(window.samples) / whisper.audio.SAMPLE_RATE
        return [
            Segment(text, window.start_s + min(start, length_s), window.start_s + min(end, length_s))
            for text, start, end in timed_texts(result.tokens, self._tokenizer, length_s)
        ]


def timed_texts(
    tokens: Sequence[int], tokenizer: Tokenizer, length_s: float
) -> list[tuple[str, float, float]]:
    """Text between time tokens with its start and end in seconds; what no time closes ends with the window."""
    found: list[tuple[str, float, float]] = []
    start, spoken = 0.0, list[int]()

    def close(end: float) -> None:
        if text := tokenizer.decode(spoken).strip():
            found.append((text, start, max(end, start)))
        spoken.clear()

    for token in tokens:
        if token >= tokenizer.timestamp_begin:
            time = (token - tokenizer.timestamp_begin) * _TIME_TOKEN_S
            close(time)
            start = time
        elif token < tokenizer.eot:
            spoken.append(token)
    close(length_s)
    return found


def _seed(*parts: object) -> int:
    return int(stable_uid(*parts)[:15], 16)


def _load(model: str, device: str) -> Any:
    """A model by Whisper's own name, by path or by URI."""
    path = model if model in whisper.available_models() else str(_local(model))
    try:
        return whisper.load_model(path, device).eval()
    except (RuntimeError, KeyError, TypeError, EOFError, OSError, UnpicklingError) as error:
        detail = f"{type(error).__name__}: {str(error).partition('. ')[0][:200]}"
        raise UserError(
            f"speech model {model}: not a checkpoint openai-whisper can load ({detail})"
        ) from error


@functools.cache
def _local(uri: str) -> Path:
    """A checkpoint on this machine, fetched once per content."""
    if (path := objects.local_path(uri)) is not None:
        if not path.is_file():
            known = ", ".join(whisper.available_models())
            raise UserError(f"speech model {uri}: no such file, nor one of Whisper's models ({known})")
        return path
    data = objects.read_bytes(uri)
    name = f"reelscript-whisper-{hashlib.sha256(data).hexdigest()[:24]}-{os.getuid()}.pt"
    copy = Path(tempfile.gettempdir()) / name
    if not copy.exists():
        objects.write_bytes(str(copy), data)
    return copy
