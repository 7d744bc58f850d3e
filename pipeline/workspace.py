"""A recipe on this machine: absolute locations, opened sources, and what identifies the code and the data."""

import dataclasses
import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from infra.cpus import machine_cores, machine_memory
from infra.objects import absolute, join
from ingest.source import Source
from ingest.sources.cc12m import CC12M, CC12MFiles, CC12MParquet
from ingest.sources.folder import Folder
from ingest.sources.webvid import WebVid, WebVidTars, WebVidTSV
from ingest.sources.yt_temporal import YTTemporal, YTTemporal1B
from ingest.stores.ledger import Ledger
from pipeline.recipe import DataSource, Recipe
from trainers.models.weights.hub import is_hub_id


def located(recipe: Recipe) -> Recipe:
    """The recipe with absolute locations."""
    speech = recipe.ingest.speech
    if "/" in speech.model:  # else it is the name of a public model
        speech = replace(speech, model=absolute(speech.model))
    training = recipe.training
    if training.init is not None and not is_hub_id(training.init):
        training = replace(training, init=absolute(training.init))
    return replace(
        recipe,
        data=replace(recipe.data, root=absolute(recipe.data.root)),
        ingest=replace(recipe.ingest, speech=speech),
        training=training,
        store=absolute(recipe.store),
        output=absolute(recipe.output),
    )


def open_source(source: DataSource, root: str) -> Source:
    """The source that a recipe names, below the data root."""
    where = join(root, source.path)
    match source.layout:
        case "webvid":
            return WebVid(where, source.list_file or WebVid.list_file, source.stream)
        case "webvid_tsv":
            return WebVidTSV(where, source.list_file or WebVidTSV.list_file, source.stream)
        case "webvid_tars":
            return WebVidTars(where, source.stream)
        case "yt_temporal":
            return YTTemporal(where, source.list_file or YTTemporal.list_file, source.stream)
        case "yt_temporal_1b":
            return YTTemporal1B(where, source.list_file or YTTemporal1B.list_file, source.stream)
        case "cc12m":
            return CC12M(where, source.list_file or CC12M.list_file, source.stream)
        case "cc12m_parquet":
            return CC12MParquet(where, source.list_file or CC12MParquet.list_file, source.stream)
        case "cc12m_files":
            return CC12MFiles(where, source.list_file or CC12MFiles.list_file, source.stream)
        case "folder":
            return Folder(root, source.path, source.stream, source.narrated)


def commit() -> str:
    """The commit of the code in use, "unknown" outside a checkout."""
    here = Path(__file__).parent
    answer = subprocess.run(
        ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "unknown"


def machine() -> str:
    """This machine in a few words, for the report."""
    gib = machine_memory() / 2**30
    return f"{machine_cores()} CPU cores, {gib:.0f} GiB, {platform.system()} {platform.machine()}"


def resolved(recipe: Recipe) -> str:
    """The recipe as JSON, as it is saved with every checkpoint. It holds no credentials: they have no field."""
    return json.dumps(dataclasses.asdict(recipe), indent=1)


def ledger_digests(store: str, streams: Sequence[str]) -> dict[str, str]:
    """Which state of the store a step used: the digest of each stream's shard ledger."""
    return {f"ledger/{stream}": Ledger(store, stream).digest() for stream in streams}
