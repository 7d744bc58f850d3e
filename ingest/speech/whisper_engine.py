"""openai-whisper: windows of many media in one batch."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import PurePosixPath
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
import whisper
from numpy.typing import NDArray
from torch import Tensor, nn
from whisper.decoding import DecodingOptions
from whisper.timing import WordTiming, find_alignment
from whisper.tokenizer import Tokenizer, get_tokenizer

from infra.errors import UserError
from ingest.settings import Speech
from ingest.speech.checkpoints import local_checkpoint, one_at_a_time
from ingest.speech.engine import Decoded
from ingest.speech.whisper_decoding import BatchDecoding


class WhisperModel:
    """A loaded checkpoint, on the GPU where there is one."""

    def __init__(self, settings: Speech) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = _load(settings.model, self._device)
        self._half = self._device == "cuda"
        if self._half:
            _weights_to_half(self._model)
        self.origin = f"whisper/{PurePosixPath(settings.model).stem}"
        self.multilingual = bool(self._model.is_multilingual)

    def tokenizer(self, language: str) -> Tokenizer:
        """Text to tokens and back."""
        return get_tokenizer(
            self.multilingual, num_languages=self._model.num_languages, language=language, task="transcribe"
        )

    @torch.no_grad()
    def encode(self, sounds: Sequence[NDArray[np.float32]]) -> list[Tensor]:
        """Each window's sound, padded to 30 s as the model was taught, encoded."""
        mels = torch.stack([self._mel(sound) for sound in sounds])
        return list(self._model.encoder(mels.half() if self._half else mels))

    def _mel(self, sound: NDArray[np.float32]) -> Tensor:
        # One by one: Whisper scales a spectrogram by its loudest place, which must be the window's own.
        padded = whisper.pad_or_trim(torch.from_numpy(sound).to(self._device))
        mel: Tensor = whisper.log_mel_spectrogram(padded, self._model.dims.n_mels)
        return mel

    def languages(self, encoded: Sequence[Tensor]) -> list[dict[str, float]]:
        """Of each window, how probable each language is."""
        probabilities: list[dict[str, float]] = self._model.detect_language(torch.stack(list(encoded)))[1]
        return probabilities

    def decode(
        self, encoded: Sequence[Tensor], languages: Sequence[str], temperature: float, seeds: Sequence[int]
    ) -> list[Decoded]:
        """The likeliest text of each window, or one drawn at a temperature from its seed."""
        options = DecodingOptions(language=languages[0], temperature=temperature, fp16=self._half)
        task = BatchDecoding(self._model, options, languages, seeds)
        return [
            Decoded(
                tokens=tuple(found.tokens),
                text=found.text,
                avg_logprob=found.avg_logprob,
                no_speech_prob=found.no_speech_prob,
                cut_off=len(found.tokens) >= task.sample_len,
            )
            for found in task.run(torch.stack(list(encoded)))
        ]

    def align(
        self, encoded: Tensor, language: str, tokens: Sequence[int], num_frames: int
    ) -> list[WordTiming]:
        """When the words of these text tokens are said, in seconds of the window."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Triton kernels, which need a CUDA toolkit on the machine
            found: list[WordTiming] = find_alignment(
                _Encoded(self._model), self.tokenizer(language), list(tokens), encoded, num_frames
            )
        return found


class _Encoded:
    """A model for `find_alignment`, which would encode the window again."""

    def __init__(self, model: Any) -> None:
        self.dims, self.decoder, self.device = model.dims, model.decoder, model.device
        self.alignment_heads = model.alignment_heads

    def __call__(self, encoded: Tensor, tokens: Tensor) -> Tensor:
        logits: Tensor = self.decoder(tokens, encoded)
        return logits


def _weights_to_half(model: nn.Module) -> None:
    """What Whisper's layers do with their weights at every call, once (its LayerNorms stay as they are)."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Embedding)):
            module.half()


def _load(model: str, device: str) -> Any:
    """A model by Whisper's own name, by path or by URI."""
    if model in whisper.available_models():
        with one_at_a_time(model):  # Whisper writes its download in place
            return _loaded(model, model, device)
    path = local_checkpoint(model)
    if not path.is_file():
        known = ", ".join(whisper.available_models())
        raise UserError(f"speech model {model}: no such file, nor one of Whisper's models ({known})")
    loaded = _loaded(model, str(path), device)
    if (heads := whisper._ALIGNMENT_HEADS.get(path.stem)) is not None:
        # A copy of a public model has the public heads; another model may have its name, and other dimensions.
        with suppress(RuntimeError):
            loaded.set_alignment_heads(heads)
    return loaded


def _loaded(model: str, name: str, device: str) -> Any:
    try:
        return whisper.load_model(name, device).eval()
    except URLError as error:
        raise UserError(
            f"speech model {model}: cannot be downloaded ({error.reason}); give the path or URI of a checkpoint"
        ) from error
    except (RuntimeError, KeyError, TypeError, EOFError, OSError, UnpicklingError) as error:
        detail = f"{type(error).__name__}: {str(error).partition('. ')[0][:200]}"
        raise UserError(
            f"speech model {model}: not a checkpoint openai-whisper can load ({detail})"
        ) from error
