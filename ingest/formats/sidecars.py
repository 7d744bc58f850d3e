"""What lies beside a medium in a folder: a caption, subtitles, or a JSON file with either."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ftfy

from infra import objects
from ingest.formats.annotations import AnnotationError, provided_utterances
from ingest.formats.folders import TooLargeError, read_whole
from ingest.formats.subtitles import SubtitlesError, utterances_of
from ingest.records import Utterance, Word
from ingest.source import printable
from ingest.speech.sentences import Segment, sentences_of_segments, sentences_of_words

_SUBTITLES = frozenset({"srt", "vtt"})
_TEXTS = frozenset({"txt", "json"})


@dataclass(frozen=True)
class Sidecar:
    """What the files beside a medium say of it."""

    captions: tuple[str, ...] = ()
    label: str | None = None
    utterances: tuple[Utterance, ...] | None = None


def stem(name: str) -> str:
    """A file's name without its extension."""
    return name.rpartition(".")[0] or name


def extension(name: str) -> str:
    """ "mp4"."""
    return name.rpartition(".")[2].lower()


def by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """The files that say something, by the stem of the medium they may belong to."""
    found: dict[str, list[str]] = {}
    for name in names:
        kind = extension(name)
        if kind in _SUBTITLES or kind in _TEXTS:
            found.setdefault(stem(name), []).append(name)
        if kind in _SUBTITLES and "." in stem(name):  # a.en.vtt
            found.setdefault(stem(stem(name)), []).append(name)
    return found


def read_sidecars(folder: str, medium: str, names: Sequence[str]) -> Sidecar:
    """What these files say of a medium. Raises AnnotationError naming the file, MissingError, StorageError."""
    chosen = [name for name in names if extension(name) in _TEXTS]
    found = [Sidecar()]
    for name in [*chosen, *_subtitles(medium, names)]:
        try:
            found.append(_sidecar(name, read_whole(objects.join(folder, name))))
        except (AnnotationError, SubtitlesError, TooLargeError) as error:
            raise AnnotationError(f"{name}: {error}") from error
    return Sidecar(
        captions=tuple(dict.fromkeys(caption for sidecar in found for caption in sidecar.captions)),
        label=next((sidecar.label for sidecar in found if sidecar.label), None),
        utterances=next((sidecar.utterances for sidecar in reversed(found) if sidecar.utterances), None),
    )


def _subtitles(medium: str, names: Sequence[str]) -> list[str]:
    """The one subtitle file: that with the medium's own name, or the only one there is."""
    found = [name for name in names if extension(name) in _SUBTITLES]
    own = [name for name in found if stem(name) == stem(medium)]
    if len(own or found) > 1:
        raise AnnotationError(f"{', '.join(own or found)}: more than one, and none can be preferred")
    return own or found


def _sidecar(name: str, data: bytes) -> Sidecar:
    match extension(name):
        case "txt":
            caption = " ".join(data.decode("utf-8-sig", "replace").split())
            return Sidecar((caption,) if caption else ())
        case "json":
            return _told_by_json(data)
        case _:
            return Sidecar(utterances=utterances_of(data))


def _told_by_json(data: bytes) -> Sidecar:
    """`caption` or `captions`, `label`, and `segments` or `subtitles`; other fields say nothing to us."""
    try:
        facts = json.loads(data)
        captions = [facts.get("caption"), *(facts.get("captions") or ())]
        utterances = _heard(facts["segments"]) if facts.get("segments") else provided_utterances(data)
    except AnnotationError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AnnotationError(f"{type(error).__name__}: {error}") from error
    label = facts.get("label")
    texts = (" ".join(printable(str(caption or "")).split()) for caption in captions)
    return Sidecar(
        captions=tuple(text for text in texts if text),
        label=None if label is None else printable(str(label)),
        utterances=utterances or None,
    )


def _heard(segments: Sequence[Mapping[str, Any]]) -> tuple[Utterance, ...]:
    """Speech as Whisper's own JSON has it: text, start, end and, where asked for, words."""
    words = [
        Word(ftfy.fix_text(str(word["word"])).strip(), *_times(word))
        for segment in segments
        for word in segment.get("words") or ()
    ]
    if words:
        return sentences_of_words(sorted(words, key=lambda word: word.start_s), origin="provider")
    found = [Segment(ftfy.fix_text(str(segment["text"])), *_times(segment)) for segment in segments]
    return sentences_of_segments(sorted(found, key=lambda segment: segment.start_s), origin="provider")


def _times(spoken: Mapping[str, Any]) -> tuple[float, float]:
    start, end = float(spoken["start"]), float(spoken["end"])
    if not (math.isfinite(end) and 0 <= start <= end):
        raise ValueError(f"speech from {start} to {end} s")
    return start, end
