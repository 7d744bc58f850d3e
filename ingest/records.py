"""The shared vocabulary: frozen records, plain values inside, one versioned Arrow schema each outside."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import pyarrow as pa

SCHEMA_VERSION = 1
VERSION_KEY = b"reelscript.schema_version"

Kind = Literal["video", "image"]


def stable_uid(*parts: object) -> str:
    """A hash of what a thing is (source, key inside the source, window): 20 hex digits, equal on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


@dataclass(frozen=True)
class Word:
    """One spoken word; times in seconds of its medium. `end_s` is None where the source gives starts only."""

    text: str
    start_s: float
    end_s: float | None = None


@dataclass(frozen=True)
class Utterance:
    """A stretch of speech and what was said. `origin`: "provider", or the name of the speech model."""

    text: str
    start_s: float
    end_s: float
    words: tuple[Word, ...] = ()
    origin: str = "provider"


@dataclass(frozen=True)
class Media:
    """One file of an archive as its source describes it. `utterances` is None where no transcript came with it."""

    uid: str
    source: str
    key: str
    kind: Kind
    uri: str
    payload: bytes | None = None
    duration_s: float | None = None
    captions: tuple[str, ...] = ()
    label: str | None = None
    utterances: tuple[Utterance, ...] | None = None
    has_sound: bool | None = None


@dataclass(frozen=True)
class Clip:
    """A window of a medium with its texts and, where frames are stored, its candidate frames as JPEG.

    `transcripts` holds K utterances in time order (none for captioned data); `frame_times_s` counts from the
    start of the medium. Empty `frames` means that `uri` and the window are the reference to decode from.
    """

    uid: str
    media_uid: str
    source: str
    kind: Kind
    uri: str
    start_s: float
    end_s: float
    captions: tuple[str, ...] = ()
    label: str | None = None
    transcripts: tuple[Utterance, ...] = ()
    frame_times_s: tuple[float, ...] = ()
    frames: tuple[bytes, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length of the window in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Reject:
    """Something set aside: which medium, at which stage, why (a short fixed word), and the detail for people.

    `content` is the hash of the medium's bytes where they could be read (BLAKE2b, 20 bytes, in hex).
    """

    uid: str
    stage: str
    reason: str
    detail: str
    source: str = ""
    uri: str = ""
    content: str = ""


WORD_TYPE = pa.struct([("text", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())])
UTTERANCE_TYPE = pa.struct(
    [
        ("text", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("words", pa.list_(WORD_TYPE)),
        ("origin", pa.string()),
    ]
)


def _schema(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema(list(fields), metadata={VERSION_KEY: str(SCHEMA_VERSION)})


MEDIA_SCHEMA = _schema(
    ("uid", pa.string()),
    ("source", pa.string()),
    ("key", pa.string()),
    ("kind", pa.string()),
    ("uri", pa.string()),
    ("payload", pa.large_binary()),
    ("duration_s", pa.float64()),
    ("captions", pa.list_(pa.string())),
    ("label", pa.string()),
    ("utterances", pa.list_(UTTERANCE_TYPE)),
    ("has_sound", pa.bool_()),
)
CLIP_SCHEMA = _schema(
    ("uid", pa.string()),
    ("media_uid", pa.string()),
    ("source", pa.string()),
    ("kind", pa.string()),
    ("uri", pa.string()),
    ("start_s", pa.float64()),
    ("end_s", pa.float64()),
    ("captions", pa.list_(pa.string())),
    ("label", pa.string()),
    ("transcripts", pa.list_(UTTERANCE_TYPE)),
    ("frame_times_s", pa.list_(pa.float64())),
    ("frames", pa.list_(pa.binary())),
)
REJECT_SCHEMA = _schema(
    ("uid", pa.string()),
    ("stage", pa.string()),
    ("reason", pa.string()),
    ("detail", pa.string()),
    ("source", pa.string()),
    ("uri", pa.string()),
    ("content", pa.string()),
)

Record = TypeVar("Record", Media, Clip, Reject)
_SCHEMAS: dict[type, pa.Schema] = {Media: MEDIA_SCHEMA, Clip: CLIP_SCHEMA, Reject: REJECT_SCHEMA}


def to_table(kind: type[Record], records: Iterable[Record]) -> pa.Table:
    """Records of one kind as a table in that kind's schema (an empty list gives an empty table)."""
    rows, schema = list(records), _SCHEMAS[kind]
    columns = [
        pa.array([_arrow_value(field.name, getattr(row, field.name)) for row in rows], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def from_table(kind: type[Record], table: pa.Table) -> list[Record]:
    """The records of a table written by `to_table`. Raises ValueError naming both versions if they differ."""
    check_version(table.schema)
    return [from_row(kind, row) for row in table.to_pylist()]


def check_version(schema: pa.Schema) -> None:
    """Refuse a schema that another version of Reelscript wrote."""
    found = (schema.metadata or {}).get(VERSION_KEY, b"none").decode()
    if found != str(SCHEMA_VERSION):
        raise ValueError(
            f"these records have schema version {found}, this Reelscript reads version {SCHEMA_VERSION}"
        )


def from_row(kind: type[Record], row: Mapping[str, Any]) -> Record:
    """One row (as `to_pylist` gives it) as a record."""
    values = dict(row)
    for name in ("captions", "frames", "frame_times_s"):
        if name in values:
            values[name] = tuple(values[name] or ())  # Arrow gives lists
    for name in ("utterances", "transcripts"):
        if values.get(name) is not None:
            values[name] = tuple(_utterance(item) for item in values[name])
    return kind(**values)


def to_row(record: Media | Clip | Reject) -> dict[str, Any]:
    """A record as Arrow takes it; `from_row` reads it back."""
    return {name: _arrow_value(name, value) for name, value in vars(record).items()}


def _utterance(row: Mapping[str, Any]) -> Utterance:
    words = tuple(Word(**word) for word in row["words"] or ())
    return Utterance(**{**row, "words": words})


def _arrow_value(name: str, value: Any) -> Any:
    """What Arrow takes: tuples of plain values as they are, utterances as mappings."""
    if name not in ("utterances", "transcripts") or value is None:
        return value
    return [{**vars(item), "words": [vars(word) for word in item.words]} for item in value]
