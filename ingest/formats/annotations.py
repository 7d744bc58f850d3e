"""YT-Temporal's annotations: words with times and, where there is one, their denoised text."""

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any

from infra import objects
from ingest.formats.alignment import align_denoised, clean_words
from ingest.formats.folders import SMALL_BYTES, TooLargeError, read_whole
from ingest.formats.subtitles import read_cues, timed_words
from ingest.records import Utterance, Word
from ingest.source import printable
from ingest.speech.sentences import sentences_of_words

_LATEST_S = 1e6


class AnnotationError(ValueError):
    """An annotation that cannot be read, and why."""


def first_found(*uris: str) -> bytes | None:
    """The first of these files that exists, unpacked where its name ends in .gz. Raises AnnotationError."""
    for uri in uris:
        try:
            data = read_whole(uri)
        except objects.MissingError:
            continue
        except TooLargeError as error:
            raise AnnotationError(str(error)) from error
        return _unpacked(data) if uri.endswith(".gz") else data
    return None


def provided_utterances(data: bytes) -> tuple[Utterance, ...]:
    """The sentences of an annotation: of its denoised text where it has one, else of its words.

    `subtitles` is a list of {word, time}, `denoised` one of {cleanasr}. Files of the 1B release may hold WebVTT by
    language under `transcripts` instead of `subtitles`; the English one is read. Raises AnnotationError.
    """
    try:
        annotation = json.loads(data)
        words = clean_words(_words(annotation))
        denoised = [str(item["cleanasr"]) for item in annotation.get("denoised") or []]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AnnotationError(printable(f"{type(error).__name__}: {error}")) from error
    if any(text.strip() for text in denoised):
        words = align_denoised(words, denoised)
    return sentences_of_words(sorted(words, key=lambda word: word.start_s), origin="provider")


def _words(annotation: Mapping[str, Any]) -> list[Word]:
    if "subtitles" not in annotation and (transcripts := annotation.get("transcripts")):
        return timed_words(read_cues(str(transcripts["en"])))
    return [Word(str(item["word"]), _seconds(item["time"])) for item in annotation.get("subtitles") or []]


def _seconds(value: object) -> float:
    found = float(value)  # type: ignore[arg-type]
    if not (math.isfinite(found) and 0 <= found < _LATEST_S):
        raise ValueError(f"a word at {found} s")
    return found


def _unpacked(data: bytes) -> bytes:
    """Raises AnnotationError; a small file may claim to unpack to any size."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        found = unpacker.decompress(data, SMALL_BYTES)
    except zlib.error as error:
        raise AnnotationError(f"gzip: {error}") from error
    if not unpacker.eof:
        raise AnnotationError("gzip: the file is cut off, or unpacks to more than may be")
    return found
