"""`reelscript doctor`: what this machine or cluster has, what is missing, and what to do about it.

Every probe imports what it tests, so that this works where any of them is missing.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from infra.errors import UserError

PACKAGES = (
    *("ray", "torch", "numpy", "pyarrow", "fsspec", "s3fs", "safetensors", "decord", "av", "ffmpeg-python"),
    *("imageio-ffmpeg", "simplejpeg", "openai-whisper", "webrtcvad-wheels", "tokenizers", "regex", "ftfy"),
    *("rapidfuzz", "mlflow", "tyro", "rich", "jinja2", "espeakng-loader"),
)
NEEDED_DISK_GB = 2.0
_MARKS = {"ok": "[green]✓ ok", "note": "[yellow]• note", "missing": "[bold red]✗ missing"}


@dataclass(frozen=True)
class Check:
    """A row of the table. `note`: works without it, or with less; `remedy`: what to do about it."""

    name: str
    state: Literal["ok", "note", "missing"]
    found: str
    remedy: str = ""


def doctor(store: str | None = None, address: str | None = None) -> int:
    """Check, print the table, return the exit status: 1 when something required is missing."""
    checks = examine(store, address)
    console = Console()
    console.print(table(checks))
    missing = [check for check in checks if check.state == "missing"]
    if missing:
        console.print(f"[bold red]{len(missing)} required: {', '.join(check.name for check in missing)}.")
        return 1
    console.print("[green]Everything that is required is here.")
    return 0


def examine(store: str | None, address: str | None, *, with_ray: bool = True) -> list[Check]:
    """Every check, in the order of the table. `with_ray`: join or start Ray, which ends one joined before."""
    probes: list[tuple[str, Callable[[], Check]]] = [
        ("Python", python),
        ("packages", packages),
        ("ffmpeg", ffmpeg),
        ("PyAV", partial(decoder, "PyAV", count_frames_av)),
        ("decord", partial(decoder, "decord", count_frames_decord)),
        ("CLIP tokenizer", tokenizer),
        ("espeak-ng", voice),
        ("disk", disk),
        ("GPU", gpus),
        ("tracking", tracking),
    ]
    if with_ray:
        probes.append(("Ray", partial(ray_cluster, address)))
    if store is not None:
        probes.append(("store", partial(writable_store, store)))
    return [attempt(name, probe) for name, probe in probes]


def attempt(name: str, probe: Callable[[], Check]) -> Check:
    """The probe's answer; any failure is an answer too, since looking for failures is what this is for."""
    try:
        return probe()
    except UserError as error:
        return Check(name, "missing", str(error))
    except Exception as error:
        words = str(error).strip().splitlines() or ["no details"]
        return Check(
            name, "missing", f"{type(error).__name__}: {words[0][:200]}", "install the requirements again"
        )


def table(checks: Sequence[Check]) -> Table:
    """The checks as people read them."""
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("", "what", "found", "what to do"):
        rows.add_column(title, overflow="fold")
    for check in checks:
        rows.add_row(_MARKS[check.state], check.name, check.found, check.remedy)
    return rows


def python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    """3.11 to 3.13, as pyproject.toml has it."""
    shown = ".".join(map(str, version))
    if (3, 11) <= version[:2] <= (3, 13):
        return Check("Python", "ok", shown)
    return Check(
        "Python",
        "missing",
        f"{shown}, needs 3.11, 3.12 or 3.13",
        "make the environment with one of them",
    )


def packages(names: Sequence[str] = PACKAGES) -> Check:
    """Every required distribution is installed."""
    versions = {name: _version(name) for name in names}
    absent = [name for name, version in versions.items() if version is None]
    if absent:
        return Check(
            "packages", "missing", f"not installed: {', '.join(absent)}", f"pip install {' '.join(absent)}"
        )
    shown = ", ".join(
        f"{name} {versions[name]}" for name in ("ray", "torch", "mlflow", "av", "decord") if name in versions
    )
    return Check("packages", "ok", f"{shown} and {len(names) - 5} more")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def ffmpeg() -> Check:
    """A binary that starts: from the PATH, else the one in the wheel."""
    import imageio_ffmpeg

    binary = shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()
    answer = subprocess.run([binary, "-version"], capture_output=True, text=True, timeout=20, check=True)
    words = answer.stdout.split()
    origin = "on the PATH" if shutil.which("ffmpeg") else "from the imageio-ffmpeg wheel"
    return Check("ffmpeg", "ok", f"{words[2]} {origin}")


def decoder(name: str, count_frames: Callable[[str], int]) -> Check:
    """It decodes every frame of an H.264 second made on the spot."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "second.mp4"))
        write_second(path)
        frames = count_frames(path)
    if frames == 25:
        return Check(name, "ok", "decodes H.264: 25 of 25 frames")
    return Check(
        name, "missing", f"decodes {frames} of 25 frames", "install the pinned versions (requirements.lock)"
    )


def write_second(path: str) -> None:
    """One second of H.264, 25 frames of 64 x 64, each of another grey."""
    import av
    import numpy as np

    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(25):
            picture = np.full((64, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def count_frames_av(path: str) -> int:
    """Frames that PyAV decodes."""
    import av

    with av.open(path) as container:
        return sum(1 for _ in container.decode(video=0))


def count_frames_decord(path: str) -> int:
    """Frames that decord decodes."""
    import decord

    reader = decord.VideoReader(path, num_threads=1)
    return len(reader.get_batch(list(range(len(reader)))).asnumpy())


def tokenizer() -> Check:
    """CLIP's vocabulary: start 49406, end 49407, "video" is one word of it."""
    from trainers.data.tokenizers import ClipTokenizer

    ids = ClipTokenizer(8)(["video"])[0].tolist()
    if ids[0] == 49406 and ids[2] == 49407:
        return Check("CLIP tokenizer", "ok", f"“video” is token {ids[1]}")
    return Check(
        "CLIP tokenizer",
        "missing",
        f"“video” became {ids}",
        "install reelscript again: its vocabulary file is damaged",
    )


def voice() -> Check:
    """The demo's narrator says a word; only the demo needs it."""
    try:
        from pipeline.demo.voice import speak

        return Check("espeak-ng", "ok", f"says a word in {speak('video').duration_s:.2f} s of sound")
    except Exception as error:
        return Check(
            "espeak-ng",
            "note",
            f"{type(error).__name__}: {error}",
            "only the demo needs it: pip install espeakng-loader",
        )


def disk(folder: Path | None = None) -> Check:
    """Room where the outputs go, here."""
    usage = shutil.disk_usage(folder or Path.cwd())
    found = f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.0f} GB"
    if usage.free / 1e9 < NEEDED_DISK_GB:
        return Check(
            "disk",
            "missing",
            found,
            f"the demo needs {NEEDED_DISK_GB:g} GB here; free some, or set --output and --store",
        )
    return Check("disk", "ok", found)


def gpus() -> Check:
    """Devices of this machine; the cluster's are in the row of Ray."""
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if names:
        return Check("GPU", "ok", ", ".join(names))
    return Check(
        "GPU", "note", "none on this machine", "the tiny recipe runs on CPU; the published sizes need GPUs"
    )


def ray_cluster(address: str | None) -> Check:
    """A Ray answers at the address, or one starts here; it is left (and ended) again."""
    from infra import session

    joined = session.start(address)
    session.stop()
    where = "starts on this machine" if joined.local else f"{joined.num_nodes} nodes"
    return Check("Ray", "ok", f"{where}: {joined.num_cpus:g} CPUs, {joined.num_gpus:g} GPUs")


def tracking() -> Check:
    """The server that MLFLOW_TRACKING_URI names answers."""
    import mlflow

    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return Check(
            "tracking", "note", "sqlite below the output folder", "set MLFLOW_TRACKING_URI to use a server"
        )
    for name, value in (("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"), ("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")):
        os.environ.setdefault(name, value)
    shown = without_password(uri)
    try:
        mlflow.MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except Exception as error:  # its words may hold the password of the address
        found = f"{shown} does not answer ({type(error).__name__})"
        return Check("tracking", "missing", found, "start the server, or correct MLFLOW_TRACKING_URI")
    return Check("tracking", "ok", f"{shown} answers")


def without_password(uri: str) -> str:
    """The URI with user and password left out."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def writable_store(store: str) -> Check:
    """An object can be written there, read back and removed."""
    from infra import objects

    uri = objects.join(store, f".reelscript-doctor-{uuid.uuid4().hex}")
    objects.write_bytes(uri, b"reelscript")
    try:
        same = objects.read_bytes(uri) == b"reelscript"
    finally:
        objects.remove(uri)
    if same:
        return Check("store", "ok", f"{store}: written, read back, removed")
    return Check("store", "missing", f"{store} gives back other bytes than were written", "use another store")
