"""openai-whisper's decoding of many windows at once: its rules for all rows of a batch in a few tensor operations.

`whisper.DecodingTask` is made for one window: it masks time tokens row by row in Python, keeps rows that have ended
in the batch, draws from the global random state, and takes one language for all.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.decoding import (
    ApplyTimestampRules,
    DecodingOptions,
    DecodingTask,
    GreedyDecoder,
    LogitFilter,
    SuppressTokens,
)
from whisper.model import Whisper

_LOOK_EVERY = 8  # tokens between two looks whether rows have ended
_ENDED_SHARE = 0.25  # ended rows leave the batch together: each time all others are copied


class BatchDecoding(DecodingTask):  # type: ignore[misc]  # Whisper has no types
    """Greedy or sampled decoding of windows, each in its language and, where sampled, from its seed."""

    def __init__(
        self, model: Whisper, options: DecodingOptions, languages: Sequence[str], seeds: Sequence[int]
    ) -> None:
        super().__init__(model, options)
        self._languages = list(languages)
        self._seeds = seeds
        replaced = (SuppressTokens, ApplyTimestampRules)
        kept: list[LogitFilter] = [rule for rule in self.logit_filters if not isinstance(rule, replaced)]  # type: ignore[has-type]
        self.logit_filters = [*kept, _TokenRules(self, model.device)]

    def _detect_language(self, audio_features: Tensor, tokens: Tensor) -> tuple[list[str], None]:
        """The languages are given; they are written into the prompt."""
        if self.model.is_multilingual:
            ids = [self.tokenizer.to_language_token(language) for language in self._languages]
            tokens[:, self.sot_index + 1] = torch.tensor(ids)
        return self._languages, None

    def _main_loop(self, audio_features: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, list[float]]:
        live = _Rows(tokens, self.tokenizer.eot, self.sample_len)
        self.decoder = _decoder(self.options.temperature, self.tokenizer.eot, self._seeds, live)
        silence: list[float] = []
        try:
            for step in range(self.sample_len):
                logits = self.inference.logits(live.tokens, audio_features)
                if step == 0:
                    at_start = logits[:, self.sot_index].float().softmax(dim=-1)
                    silence = at_start[:, self.tokenizer.no_speech].tolist()
                logits = logits[:, -1]
                for rule in self.logit_filters:
                    rule.apply(logits, live.tokens)
                live.tokens, completed = self.decoder.update(live.tokens, logits, live.sums)
                if completed or live.tokens.shape[-1] > self.n_ctx:
                    break
                if step % _LOOK_EVERY == _LOOK_EVERY - 1 and (kept := live.without_ended()) is not None:
                    audio_features = audio_features[kept]
                    cache = self.inference.kv_cache
                    for module in cache:
                        cache[module] = cache[module][kept]
        finally:
            self.inference.cleanup_caching()
        return *live.all_rows(), silence


class _Rows:
    """The rows still being decoded, and those that have ended."""

    def __init__(self, tokens: Tensor, eot: int, longest: int) -> None:
        self.tokens = tokens
        self.sums = torch.zeros(len(tokens), device=tokens.device)
        self.numbers = torch.arange(len(tokens), device=tokens.device)
        self._eot = eot
        self._width = tokens.shape[1] + longest
        self._ended: list[tuple[Tensor, Tensor, Tensor]] = []

    def without_ended(self) -> Tensor | None:
        """Set ended rows aside once they are many; the rows that stay, or None where all do."""
        ended = self.tokens[:, -1] == self._eot
        if int(ended.sum()) < len(ended) * _ENDED_SHARE:
            return None
        self._set_aside(ended)
        kept = (~ended).nonzero().flatten()
        self.tokens, self.sums, self.numbers = self.tokens[kept], self.sums[kept], self.numbers[kept]
        return kept

    def all_rows(self) -> tuple[Tensor, Tensor]:
        """Tokens and sums of log probabilities of all rows, in the order in which they came."""
        self._set_aside(torch.ones(len(self.tokens), dtype=torch.bool, device=self.tokens.device))
        numbers, tokens, sums = (torch.cat(parts) for parts in zip(*self._ended, strict=True))
        order = numbers.argsort()
        return tokens[order], sums[order]

    def _set_aside(self, rows: Tensor) -> None:
        tokens = F.pad(self.tokens[rows], (0, self._width - self.tokens.shape[1]), value=self._eot)
        self._ended.append((self.numbers[rows], tokens, self.sums[rows]))


class _TokenRules(LogitFilter):  # type: ignore[misc]  # Whisper has no types
    """Whisper's SuppressTokens and ApplyTimestampRules, for all rows together and without a wait for the device."""

    def __init__(self, task: DecodingTask, device: torch.device) -> None:
        never = [*task._get_suppress_tokens(), task.tokenizer.no_timestamps]
        self._never = torch.tensor(never, device=device)
        self._begin = task.sample_begin
        self._eot, self._times = task.tokenizer.eot, task.tokenizer.timestamp_begin
        precision = 30 / task.model.dims.n_audio_ctx
        self._latest_first = round(task.options.max_initial_timestamp / precision)

    def apply(self, logits: Tensor, tokens: Tensor) -> None:
        """Mask what may not follow (logits: rows x vocabulary, changed in place)."""
        logits.index_fill_(1, self._never, -torch.inf)
        times, text = logits[:, self._times :], logits[:, : self._times]
        if tokens.shape[1] == self._begin:  # a time comes first, and an early one
            text.fill_(-torch.inf)
            times[:, self._latest_first + 1 :] = -torch.inf
            return
        said = tokens[:, self._begin :]
        is_time = said >= self._times
        last = is_time[:, -1:]
        before = is_time[:, -2:-1] if said.shape[1] > 1 else torch.ones_like(last)
        # Times come in pairs, never decrease, and no segment is empty.
        floor = said.amax(dim=1, keepdim=True) - self._times + (~(last & ~before)).long()
        number = torch.arange(times.shape[1], device=logits.device)
        times.masked_fill_((last & before) | (number < floor), -torch.inf)
        logits[:, : self._eot].masked_fill_(last & ~before, -torch.inf)
        likelier = times.float().logsumexp(dim=1, keepdim=True) > text.float().amax(dim=1, keepdim=True)
        text.masked_fill_(likelier, -torch.inf)


def _decoder(temperature: float, eot: int, seeds: Sequence[int], live: _Rows) -> GreedyDecoder:
    return GreedyDecoder(0.0, eot) if temperature == 0 else _SeededSampling(temperature, eot, seeds, live)


class _SeededSampling(GreedyDecoder):  # type: ignore[misc]  # Whisper has no types
    """Whisper's sampling with one random stream per row, so that neighbours do not matter.

    A token wins by its probability divided by noise of its own: the last bits of a probability, which do depend on
    the size of the batch, hardly ever change the winner (they would, if one draw were looked up in running sums).
    """

    def __init__(self, temperature: float, eot: int, seeds: Sequence[int], live: _Rows) -> None:
        super().__init__(temperature, eot)
        device = live.tokens.device
        self._streams = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._live = live

    def update(self, tokens: Tensor, logits: Tensor, sum_logprobs: Tensor) -> tuple[Tensor, Tensor]:
        """One more token for each row, drawn from softmax(logits / temperature)."""
        noise = torch.empty_like(logits, dtype=torch.float32)
        for row, number in zip(noise, self._live.numbers.tolist(), strict=True):
            row.exponential_(generator=self._streams[number])
        chances = (logits.float() / self.temperature).softmax(dim=-1)
        chosen = (chances / noise).argmax(dim=-1, keepdim=True)
        logprobs = logits.float().log_softmax(dim=-1).gather(1, chosen)
        ended = tokens[:, -1:] == self.eot
        sum_logprobs += (logprobs * ~ended)[:, 0]
        following = chosen.masked_fill(ended, self.eot)
        tokens = torch.cat([tokens, following], dim=-1)
        return tokens, (following == self.eot).all()
