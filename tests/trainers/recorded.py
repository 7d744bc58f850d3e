"""Recorded sets of the reference (tvtsv2_*.json beside .safetensors) and how to rebuild its models."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from trainers.data.batch import Batch, Clips
from trainers.loop.freezing import freeze
from trainers.loop.task import Task, task_of
from trainers.models.sizes import Activation, SortingHead, TextTower, VideoTower
from trainers.models.video_text import VideoTextModel
from trainers.models.weights import tvtsv2
from trainers.objectives.settings import Contrastive, Sorting
from trainers.recipe import Pixels, Stage, Stream
from trainers.systems.tvtsv2.rows import TVTSv2Reads
from trainers.systems.tvtsv2.settings import TVTSv2
from trainers.systems.tvtsv2.system import Inputs

ACTIVATIONS: dict[str, Activation] = {"quick_gelu": "quick_gelu", "gelu_erf": "gelu"}
NARRATED = Stream("narrated", 0, TVTSv2Reads(text="transcripts"), {"contrastive": 1.0, "sorting": 2.0})
CAPTIONED = Stream("captioned", 0, TVTSv2Reads(), {"contrastive": 1.0})


def device() -> torch.device:
    """CUDA in full float32 where there is one."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def set_names(folder: Path) -> list[str]:
    """The recorded sets of this paper in a folder; the other papers' are left alone."""
    return sorted(path.stem for path in folder.glob("tvtsv2_*.json"))


@dataclass(frozen=True)
class Family:
    """One recorded model: its part of the sidecar, and its tensors by what they are."""

    name: str
    sidecar: dict[str, Any]
    params: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, dict[str, Tensor]]
    """case -> name -> tensor."""

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.sidecar["config"])

    def task(self, scales: dict[str, float] | None = None) -> Task:
        """The recorded model, lower text blocks frozen; `scales`: factors by recorded name."""
        system = self._system()
        model = VideoTextModel(system)
        factors = scales or {}
        params = {name: value * factors.get(name, 1.0) for name, value in self.params.items()}
        tvtsv2.load(model, params, sorting_head=True)
        freeze(model, frozen_below={"text": self.config["frozen_text_layers"]})
        objectives = (Contrastive(temperature=float(self.config["temperature"])), Sorting())
        return task_of(system, Stage("recorded", (), objectives, 1), model, Pixels(), device())

    def _system(self) -> TVTSv2:
        c = self.config
        flavour = c["variant"][0].lower()
        assert flavour in ("b", "h"), f"neither flavour b nor h: {c['variant']}"
        assert c["dropout"] == 0
        rows = len(self.params["video_model.temporal_embedding"])
        ratio = {"mlp_ratio": float(c["mlp_ratio"])}
        video = VideoTower(
            **_sizes(c, "video", "width", "layers", "heads"),
            **{"image_size": c["image_size"], "patch_size": c["patch_size"], "max_frames": rows, **ratio},
        )
        text = TextTower(
            **_sizes(c, "text", "width", "layers", "heads"),
            **{"vocabulary": c["vocab_size"], "context": c["context_length"], **ratio},
        )
        sorting = SortingHead(
            transcripts=c["num_transcripts"],
            depth=c["sort_depth"],
            heads=c["sort_heads"],
            mlp_ratio=float(c["sort_mlp_ratio"]),
            activation=ACTIVATIONS[c["sort_activation"]],
            layer_norm_eps=float(c["sort_layer_norm_eps"]),
        )
        activation = ACTIVATIONS[c["activation"]]
        return TVTSv2(
            flavour=flavour,
            embedding=c["embed_dim"],
            activation=activation,
            layer_norm_eps=float(c["layer_norm_eps"]),
            video=video,
            text=text,
            sorting=sorting,
        )

    def transcripts(self) -> Tensor:
        """sort_text as [batch, K, context]: it is recorded transcript-major."""
        return self.inputs["sort_text"].unflatten(0, (self.config["num_transcripts"], -1)).transpose(0, 1)

    def batch(self, kind: str) -> Batch:
        """The "sort" or "caption" batch; its pixels are recorded apart."""
        tokens = self.transcripts() if kind == "sort" else self.inputs["caption_text"][:, None]
        size, frames = self.inputs["video"].shape[:2]
        clips = Clips(
            frames=torch.zeros(size, frames, 1, 1, 3, dtype=torch.uint8),
            valid=torch.ones(size, dtype=torch.bool),
            position=torch.arange(size),
            uids=torch.zeros(size, 2, 10, dtype=torch.uint8),
        )
        return Batch(clips, Inputs(tokens, self.inputs[f"{kind}_keep_ind"])).to(device())

    def video(self) -> Tensor:
        return self.inputs["video"].to(device())


def _sizes(config: dict[str, Any], tower: str, *names: str) -> dict[str, Any]:
    return {name: config[f"{tower}_{name}"] for name in names}


@dataclass(frozen=True)
class RecordedSet:
    """One set: sidecar and tensors."""

    name: str
    sidecar: dict[str, Any]
    tensors: dict[str, Tensor]

    @staticmethod
    def load(folder: Path, name: str) -> "RecordedSet":
        sidecar = json.loads((folder / f"{name}.json").read_text())
        return RecordedSet(name, sidecar, load_file(folder / f"{name}.safetensors"))

    def families(self) -> list[str]:
        return list(self.sidecar["families"])

    def family(self, name: str) -> Family:
        outputs: dict[str, dict[str, Tensor]] = {}
        for key, value in self.below(f"{name}/out/").items():
            case, entry = key.split("/", 1)
            outputs.setdefault(case, {})[entry] = value
        sidecar = self.sidecar["families"][name]
        return Family(name, sidecar, self.below(f"{name}/param/"), self.below(f"{name}/in/"), outputs)

    def below(self, prefix: str) -> dict[str, Tensor]:
        return {
            key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)
        }


def rate_drop(schedule: str) -> tuple[float, int]:
    """(factor, step index) of "both rates times 0.1 before step index 2"."""
    match = re.search(r"times ([\d.e-]+) before step index (\d+)", schedule)
    assert match, f"a schedule that this test does not know: {schedule}"
    return float(match[1]), int(match[2])
