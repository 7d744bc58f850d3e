"""Committed shards as WebDataset tars, for other trainers: one tar a part, beside the stream's shards.

A clip is a sample named by its uid: `UID.000.jpg` (or `.ppm`), `UID.001.jpg`, … its frames in time, `UID.txt` its
caption or what is said in it, `UID.json` all else. The same part always gives the same bytes.
"""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict

from infra import objects
from infra.errors import UserError
from ingest.records import Clip, from_table
from ingest.stores.ledger import Part
from ingest.stores.pictures import is_ppm
from ingest.stores.shards import part_uri, read_part


def tar_uri(store: str, stream: str, part: Part) -> str:
    """Where the tar of a part goes."""
    return objects.join(store, stream, "webdataset", part.name.replace(".parquet", ".tar"))


def export_part(store: str, stream: str, part: Part) -> bool:
    """Write the tar of one part; False where it is there already (a tar is written whole or not at all).

    UserError for clips that are references: a tar without images is of no use to anyone.
    """
    uri = tar_uri(store, stream, part)
    if objects.exists(uri):
        return False
    clips = from_table(Clip, read_part(part_uri(store, stream, part.name)))
    if any(clip.frame_times_s and not clip.frames for clip in clips):
        raise UserError(
            f"{store}: stream {stream!r} holds references and no frames to export; ingest it with frames.store "
            "'jpeg' or 'raw' into another store"
        )
    objects.write_bytes(uri, tar_of(clips))
    return True


def tar_of(clips: list[Clip]) -> bytes:
    """The clips as a tar, in their order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for clip in clips:
            for name, data in _members(clip):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _members(clip: Clip) -> Iterator[tuple[str, bytes]]:
    for number, frame in enumerate(clip.frames):
        yield f"{clip.uid}.{number:03}.{'ppm' if is_ppm(frame) else 'jpg'}", frame
    said = " ".join(utterance.text.strip() for utterance in clip.transcripts)
    yield f"{clip.uid}.txt", (clip.captions[0] if clip.captions else said).encode()
    facts = {name: value for name, value in asdict(clip).items() if name != "frames"}
    yield f"{clip.uid}.json", json.dumps(facts, sort_keys=True).encode()
