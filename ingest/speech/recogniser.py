"""From windows to timed text, as `whisper.transcribe` decides it, for windows of many media at once."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from whisper.tokenizer import LANGUAGES

from infra.errors import UserError
from ingest.records import stable_uid
from ingest.settings import Speech
from ingest.speech.engine import SAMPLE_RATE, Decoded, Encoded, SpeechModel, SpeechWindow
from ingest.speech.guards import fails, is_silent, stutters
from ingest.speech.sentences import Segment
from ingest.speech.time_tokens import TimedTokens, timed_tokens
from ingest.speech.word_times import worded_segments

_FRAME = 160  # samples of one column of the spectrogram
_MOST_FRAMES = 3000
_MOST_PARTS = 4  # of one window; 30 s of the fastest speech fill two


@dataclass(frozen=True)
class Language:
    """What is spoken (ISO 639-1) and how sure that is; 1 where it was given."""

    code: str
    probability: float = 1.0


@dataclass(frozen=True)
class Transcript:
    """What one medium says, in time order. No segments where it is silent or its language is not wanted."""

    language: Language
    wanted: bool
    segments: tuple[Segment, ...] = ()


@dataclass(frozen=True, eq=False)
class _Job:
    """A window to be decoded: of which medium, in which language, and which part of the window it was cut from."""

    medium: int
    window: SpeechWindow
    language: str
    encoded: Encoded | None = None
    part: int = 1


class Recogniser:
    """A speech model and what is made of its results; they do not depend on what is recognised beside them."""

    def __init__(self, model: SpeechModel, settings: Speech) -> None:
        self._model, self._settings = model, settings
        _check_languages(model, settings)

    @property
    def origin(self) -> str:
        """Engine and model, as utterances name it."""
        return self._model.origin

    def transcripts(self, media: Sequence[Sequence[SpeechWindow]]) -> list[Transcript]:
        """What each medium says, in the order given; times of the media."""
        encoded: dict[str, Encoded] = {}
        spoken = [Language(self._settings.language or "en")] * len(media)
        if self._settings.language is None and self._model.multilingual:
            encoded = self._encoded(_opening(media, self._settings.language_s))
            spoken = [self._heard(windows, encoded) for windows in media]
        wanted = [not self._settings.languages or item.code in self._settings.languages for item in spoken]
        jobs = [
            _Job(medium, window, spoken[medium].code, encoded.get(window.key))
            for medium, windows in enumerate(media)
            if wanted[medium]
            for window in windows
        ]
        segments = self._segments(jobs)
        return [Transcript(spoken[n], wanted[n], tuple(segments[n])) for n in range(len(media))]

    def _encoded(self, windows: Sequence[SpeechWindow]) -> dict[str, Encoded]:
        """Encoded windows by their keys."""
        found: dict[str, Encoded] = {}
        size = self._settings.batch_windows
        for start in range(0, len(windows), size):
            batch = windows[start : start + size]
            encoded = self._model.encode([window.samples for window in batch])
            found |= {window.key: item for window, item in zip(batch, encoded, strict=True)}
        return found

    def _heard(self, windows: Sequence[SpeechWindow], encoded: Mapping[str, Encoded]) -> Language:
        """The likeliest language over the opening windows, each weighted by its length."""
        opening = [window for window in windows if window.key in encoded]
        if not opening:
            return Language("", 0.0)
        total = sum(window.duration_s for window in opening)
        mean: defaultdict[str, float] = defaultdict(float)
        found = self._model.languages([encoded[window.key] for window in opening])
        for window, probabilities in zip(opening, found, strict=True):
            for code, probability in probabilities.items():
                mean[code] += probability * window.duration_s / total
        code = max(mean, key=lambda code: mean[code])
        return Language(code, mean[code])

    def _segments(self, jobs: Sequence[_Job]) -> dict[int, list[Segment]]:
        """Segments by medium, in time order."""
        found: defaultdict[int, list[Segment]] = defaultdict(list)
        waiting = list(jobs)
        while waiting:
            batch, waiting = waiting[: self._settings.batch_windows], waiting[self._settings.batch_windows :]
            batch = self._with_encoding(batch)
            for job, decoded in zip(batch, self._decoded(batch), strict=True):
                timed = self._timed(job, decoded)
                if decoded.cut_off and (rest := _rest(job, timed)) is not None:
                    waiting.append(rest)
                    timed = [item for item in timed if item.closed]
                found[job.medium] += self._worded(job, timed)
        for segments in found.values():
            segments.sort(key=lambda segment: segment.start_s)  # what a rest says was found last
        return found

    def _with_encoding(self, jobs: Sequence[_Job]) -> list[_Job]:
        """Jobs with their windows encoded; those in which the language was heard are already."""
        missing = [job for job in jobs if job.encoded is None]
        encoded = self._model.encode([job.window.samples for job in missing]) if missing else []
        fresh = iter(encoded)
        return [job if job.encoded is not None else replace(job, encoded=next(fresh)) for job in jobs]

    def _decoded(self, jobs: Sequence[_Job]) -> list[Decoded]:
        """Of each window the first result that passes, temperature by temperature; the last where none does."""
        first, *further = self._settings.temperatures
        results = self._at(jobs, first)
        for temperature in further:
            failed = [number for number, result in enumerate(results) if fails(result, self._settings)]
            if not failed:
                break
            again = self._at([jobs[number] for number in failed], temperature)
            for number, result in zip(failed, again, strict=True):
                results[number] = result
        return results

    def _at(self, jobs: Sequence[_Job], temperature: float) -> list[Decoded]:
        seeds = [_seed(self._settings.seed, job.window.key, temperature) for job in jobs]
        languages = [job.language for job in jobs]
        return self._model.decode([job.encoded for job in jobs], languages, temperature, seeds)

    def _timed(self, job: _Job, decoded: Decoded) -> list[TimedTokens]:
        if is_silent(decoded, self._settings) or stutters(decoded, self._settings):
            return []
        return timed_tokens(decoded.tokens, self._model.tokenizer(job.language), job.window.duration_s)

    def _worded(self, job: _Job, timed: Sequence[TimedTokens]) -> list[Segment]:
        """Segments with times of the medium, and with their words where those are asked for."""
        window = job.window
        if not self._settings.word_times or not timed:
            begin = window.start_s
            return [Segment(item.text, begin + item.start_s, begin + item.end_s) for item in timed]
        tokens = [token for item in timed for token in item.tokens]
        num_frames = min(len(window.samples) // _FRAME, _MOST_FRAMES)
        return worded_segments(
            timed, self._model.align(job.encoded, job.language, tokens, num_frames), window
        )


def _opening(media: Sequence[Sequence[SpeechWindow]], seconds: float) -> list[SpeechWindow]:
    """Of each medium its first windows, until they hold this much speech."""
    opening: list[SpeechWindow] = []
    for windows in media:
        held = 0.0
        for window in windows:
            if held >= seconds:
                break
            opening.append(window)
            held += window.duration_s
    return opening


def _rest(job: _Job, timed: Sequence[TimedTokens]) -> _Job | None:
    """What follows the last whole segment of a window that said more than one decoding holds."""
    ends = [item.end_s for item in timed if item.closed]
    if not ends or job.part == _MOST_PARTS:
        return None
    window = job.window
    samples = window.samples[round(ends[-1] * SAMPLE_RATE) :]
    key = stable_uid(window.key, round(ends[-1] * 1000))
    rest = SpeechWindow(key, window.start_s + ends[-1], samples)
    return _Job(job.medium, rest, job.language, part=job.part + 1) if len(samples) else None


def _check_languages(model: SpeechModel, settings: Speech) -> None:
    named = [code for code in (settings.language, *settings.languages) if code]
    for code in named:
        if code not in LANGUAGES:
            raise UserError(
                f'speech language {code!r}: Whisper knows none of that name; use ISO 639-1, e.g. "de"'
            )
        if code != "en" and not model.multilingual:
            raise UserError(
                f"speech model {settings.model} knows English alone, not {code!r}; take one without .en"
            )


def _seed(*parts: object) -> int:
    return int(stable_uid(*parts)[:15], 16)
