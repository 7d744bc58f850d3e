"""faster-whisper: checkpoints converted for CTranslate2 (the extra `faster-whisper`)."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import ctranslate2
import faster_whisper
import numpy as np
import torch
import whisper
from ctranslate2 import StorageView
from numpy.typing import NDArray
from whisper.timing import WordTiming
from whisper.tokenizer import Tokenizer, get_tokenizer

from infra.errors import UserError
from ingest.settings import Speech
from ingest.speech.checkpoints import local_checkpoint
from ingest.speech.engine import Decoded

Encoded = NDArray[np.float32]
_LONGEST = 224  # tokens of one window: half of the longest text, as in openai-whisper
_EXTRA_LANGUAGE_MELS = 128  # checkpoints that read 128 bands know Cantonese, too


class FasterWhisperModel:
    """A loaded checkpoint, on the GPU where there is one, in the precision it was converted to."""

    def __init__(self, settings: Speech) -> None:
        if any(settings.temperatures):
            raise UserError(
                "speech.engine faster-whisper cannot draw from a seed, so that a second run would say something else: "
                "set speech.temperatures to 0.0 alone"
            )
        self._model = _load(settings.model)
        self.origin = f"faster-whisper/{PurePosixPath(settings.model).name}"
        self.multilingual = bool(self._model.is_multilingual)

    def tokenizer(self, language: str) -> Tokenizer:
        """Text to tokens and back: openai-whisper's own, the numbers are the same."""
        count = 100 if self._model.n_mels == _EXTRA_LANGUAGE_MELS else 99
        return get_tokenizer(self.multilingual, num_languages=count, language=language, task="transcribe")

    def encode(self, sounds: Sequence[NDArray[np.float32]]) -> list[Encoded]:
        """Each window's sound, padded to 30 s as the model was taught, encoded."""
        mels = np.stack([self._mel(sound) for sound in sounds])
        return list(np.array(self._model.encode(StorageView.from_array(mels), to_cpu=True)))

    def _mel(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        padded = whisper.pad_or_trim(torch.from_numpy(sound))
        mel: NDArray[np.float32] = whisper.log_mel_spectrogram(padded, self._model.n_mels).numpy()
        return mel

    def languages(self, encoded: Sequence[Encoded]) -> list[dict[str, float]]:
        """Of each window, how probable each language is."""
        found = self._model.detect_language(_batch(encoded))
        return [{token.strip("<|>"): probability for token, probability in item} for item in found]

    def decode(
        self, encoded: Sequence[Encoded], languages: Sequence[str], temperature: float, seeds: Sequence[int]
    ) -> list[Decoded]:
        """The likeliest text of each window."""
        prompts = [list(self.tokenizer(language).sot_sequence) for language in languages]
        results = self._model.generate(
            _batch(encoded),
            prompts,
            beam_size=1,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=_suppressed(self.tokenizer("en")),
        )
        return [self._decoded(result, language) for result, language in zip(results, languages, strict=True)]

    def _decoded(self, result: Any, language: str) -> Decoded:
        tokens = tuple(result.sequences_ids[0])
        return Decoded(
            tokens=tokens,
            text=self.tokenizer(language).decode(list(tokens)).strip(),
            avg_logprob=result.scores[0] * len(tokens) / (len(tokens) + 1),  # a mean without the end of text
            no_speech_prob=result.no_speech_prob,
            cut_off=len(tokens) >= _LONGEST,
        )

    def align(
        self, encoded: Encoded, language: str, tokens: Sequence[int], num_frames: int
    ) -> list[WordTiming]:
        """When the words of these text tokens are said, in seconds of the window.

        One window at a time: CTranslate2 1494, batches of unequal lengths were aligned wrongly.
        """
        tokenizer = self.tokenizer(language)
        start = list(tokenizer.sot_sequence)
        (found,) = self._model.align(_batch([encoded]), start, [list(tokens)], num_frames)
        words, parts = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
        path = np.array(found.alignments)
        begins = np.append(True, np.diff(path[:, 0]) > 0)  # where the next token takes over
        times = path[begins, 1] / whisper.audio.TOKENS_PER_SECOND
        borders = np.cumsum([0, *(len(part) for part in parts[:-1])])
        return [
            WordTiming(word, part, times[low], times[high], float(np.mean(found.text_token_probs[low:high])))
            for word, part, low, high in zip(words, parts, borders[:-1], borders[1:], strict=False)
        ]


def _batch(encoded: Sequence[Encoded]) -> StorageView:
    return StorageView.from_array(np.stack(encoded))


def _suppressed(tokenizer: Tokenizer) -> list[int]:
    special = (tokenizer.transcribe, tokenizer.translate, tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm)
    return sorted({*tokenizer.non_speech_tokens, *special, tokenizer.no_speech})


def _load(model: str) -> Any:
    """A model by faster-whisper's name (fetched by the hub's client, once per node), by path or by URI of a folder."""
    device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    if model in faster_whisper.available_models():
        folder = Path(faster_whisper.download_model(model))
    elif not (folder := local_checkpoint(model)).is_dir():
        known = ", ".join(faster_whisper.available_models())
        raise UserError(f"speech model {model}: no such folder, nor one of faster-whisper's models ({known})")
    try:
        return ctranslate2.models.Whisper(str(folder), device=device)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"speech model {model}: not a model CTranslate2 can load ({error})") from error
