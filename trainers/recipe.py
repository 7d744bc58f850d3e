"""What decides the weights, given the shards: model, stages, optimiser, seed. Complete, typed data."""

import re
from dataclasses import dataclass, field
from typing import Literal

Flavour = Literal["b", "h"]
Activation = Literal["quick_gelu", "gelu"]
TemporalStart = Literal["as_published", "from_spatial"]

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class VideoTower:
    """ViT with a temporal attention module per block and one class token per clip (TVTSv2, section 3)."""

    image_size: int = 224
    """Side of the input frames in pixels."""
    patch_size: int = 32
    """Side of a patch in pixels."""
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    max_frames: int = 12
    """Rows of the temporal table."""
    temporal_start_std: float | None = None
    """Standard deviation of the fresh temporal table; None: the published width**-0.5. A model that starts
    from scratch needs rows as long as its fresh patch embedding's, or sorting stays at chance."""
    temporal_start: TemporalStart = "as_published"
    """Start of the temporal attention, which says nothing at step 0 whatever the start.

    "as_published": q, k, v zero and an output projection of ones. q and k then never train (section 3.4), and v begins
    from rounding errors, as the LayerNorm behind removes the direction of ones: a mean over time, the same for every
    frame. "from_spatial": the spatial q, k, v and an output projection of zeros; all of it trains.

    Measured with the tiny recipe (`trainers/models/README.md`; seeds 0, 1, 2): sorting leaves its plateau at
    step 211, 391, 131 of 400 as published, at 199, 259, 133 from spatial, at 223, never, 137 without the modules;
    74 % (58 to 82) of the transcripts are placed right as published, 82 % on each seed from spatial. Retrieval and
    twins tie. Where motions alone differ, starts tie as well.
    """


@dataclass(frozen=True)
class TextTower:
    """CLIP's text tower (TVTSv2, section 5)."""

    vocabulary: int = 49408
    context: int = 77
    """Token ids per text, start and end token included."""
    width: int = 512
    layers: int = 12
    heads: int = 8
    mlp_ratio: float = 4.0


@dataclass(frozen=True)
class SortingHead:
    """Joint transformer that orders a clip's transcripts (TVTSv2, 6); its width is the embedding's."""

    transcripts: int = 4
    """K, the positions a transcript can have."""
    depth: int = 2
    heads: int = 8
    mlp_ratio: float = 4.0
    activation: Activation = "gelu"
    layer_norm_eps: float = 1e-6


@dataclass(frozen=True)
class Model:
    """The two towers and the sorting head. `flavour` "b": OpenAI CLIP's blocks; "h": OpenCLIP ViT-H's."""

    flavour: Flavour = "b"
    embedding: int = 512
    """D, the width of the shared embedding."""
    activation: Activation | None = None
    """Of both towers; None: the flavour's, x * sigmoid(1.702 x) for "b" and exact GELU for "h"."""
    layer_norm_eps: float = 1e-5
    """Of both towers."""
    video: VideoTower = field(default_factory=VideoTower)
    text: TextTower = field(default_factory=TextTower)
    sorting: SortingHead = field(default_factory=SortingHead)


@dataclass(frozen=True)
class Pixels:
    """From stored frames to the tower's input (TVTSv2, 10.2)."""

    short_side: int = 268
    """Short side of the frame from which windows are cut; frames stored at this side are not resized before."""
    crop: int = 224
    """Side of the random (training) or central (evaluation) window."""
    resize: Literal["nearest", "bicubic"] = "nearest"
    """"nearest": frames of another side are resized by nearest neighbour before the window is cut, as published;
    fine patterns turn into false ones. "bicubic": the window, cut from the frame as stored and possibly larger
    than the tower's input, is resized to it on the training device, antialiased, as CLIP's own frames were.
    Measured on the demo with one seed (frames of 96 pixels to 64, CLIP's constants): R@1 in A, B, D 62, 66, 65
    against 58, 61, 56 with nearest neighbour, sorting 81 in both; seeds differ by more."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """ImageNet's constants, as published for all sizes; CLIP's own towers were trained with CLIP_MEAN, CLIP_STD."""


@dataclass(frozen=True)
class Stream:
    """One named stream of a stage: which clips, how many a step, which texts, which objectives."""

    name: str
    """Stream of the store, e.g. "narrated"."""
    batch_size: int
    """Clips per global batch; does not depend on the number of workers."""
    text: Literal["transcripts", "captions"]
    """The texts of a clip that the objectives use."""
    objectives: dict[str, float]
    """Objective names and their weights in the sum."""
    frames: int = 12
    """Frames per clip, one drawn from each of as many equal slices (TVTSv2, 10.1); 1 for still images."""
    mask_ratio: float = 0.0
    """Share of the patch positions dropped, the same in all frames of a clip (TVTSv2, section 4)."""
    rows_per_unit: int = 4
    """u: rows per unit; a global batch is batch_size / u units, a multiple of every allowed worker count."""


@dataclass(frozen=True)
class Alternate:
    """Streams take turns, each with its own optimiser step (TVTSv2, section 9)."""

    def __call__(self, step: int, num_streams: int) -> int:
        """Index of the stream of this step (steps count from 0)."""
        return step % num_streams


@dataclass(frozen=True)
class Optimizer:
    """AdamW with the parameter groups of TVTSv2, section 8."""

    lr_new: float = 1e-4
    """Rate of fresh parameters (temporal modules, their norms, the sorting head)."""
    lr_rest: float = 1e-7
    """Rate of parameters that came with the start weights."""
    weight_decay: float = 0.05
    """Decay of everything but biases and norms."""
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    form: Literal["published", "torch"] = "published"
    """ "published": transformers 4.10.2's (eps on the uncorrected root, decay after the step); "torch":
    torch.optim.AdamW, fused. Measured on the demo from the published temporal start (`trainers/models/README.md`, seeds
    0, 1, 2): sorting leaves its plateau at step 247, never, 161 of 400 as published, at 211, 391, 131 with torch's;
    retrieval ties."""
    unused: Literal["step", "skip"] = "step"
    """Parameters without a gradient in a step: "step" with a zero gradient as published, or "skip" them, so that what a
    captioned batch does not use neither drifts nor decays. Measured as above: the plateau is left at 217, 253, 119
    where they step, at 211, 391, 131 where they are skipped; all else ties."""
    warmup_steps: int = 0
    schedule: Literal["constant", "cosine", "epoch_drops"] = "constant"
    """"epoch_drops": rates times 0.1 after each epoch of `drop_epochs`."""
    drop_epochs: tuple[int, ...] = (6, 8)
    steps_per_epoch: int = 0
    """Steps that make one epoch for `epoch_drops`; 0 for the other schedules."""
    max_grad_norm: float | None = None
    """Gradient clipping; None as published."""


@dataclass(frozen=True)
class Stage:
    """One stretch of training with fixed streams, schedule, freezing and optimiser."""

    name: str
    streams: tuple[Stream, ...]
    steps: int
    """Optimiser steps."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    schedule: Alternate = field(default_factory=Alternate)
    freeze: tuple[str, ...] = ()
    """Shell patterns of parameter names, e.g. "text.blocks.[0-8].*"; one that matches nothing is an error."""
    frozen_text_blocks: int = 0
    """Lower text blocks kept as they are (the depth that the search varies)."""
    frozen_text_embeddings: bool = False
    """Also keep the text's token and place tables as they are. As published they are trained below the frozen blocks,
    so the gradient still passes through those; with this none does, and they keep nothing for the backward pass."""
    temperature: float = 0.05
    """Fixed temperature of the contrastive loss."""
    gather: Literal["published", "summed"] = "published"
    """Gradient of the gathered contrastive loss: "published", 1/W of the written one's, so that the balance with
    sorting changes with the number of workers; "summed" over ranks, that of the written loss. Measured with two
    processes: exactly half of the one-process gradient as published, all of it when summed (`test_two_ranks.py`)."""


@dataclass(frozen=True)
class Launch:
    """How the loop is run; does not change what it computes."""

    workers: int | str = 1
    """Training workers; the units of every global batch must divide by their number. A range, e.g. 4:16, takes of the
    numbers that divide the largest for which the cluster has room beside the readers, also when nodes come or go."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """What every worker holds: "ddp" the whole model, "fsdp" its share of every block (FSDP2), with checkpoints in as
    many parts as workers."""
    use_gpu: bool | None = None
    """None: where the cluster has GPUs."""
    threads: int = 0
    """CPU threads per worker; 0 divides the machine's cores by the workers on it."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Compute precision of the towers; losses and norms stay in fp32."""
    compile: bool = False
    """Compile the blocks of towers and head with torch.compile; the first steps then take minutes."""
    checkpoint_activations: bool = False
    """Keep only the input of each block for the backward pass and compute the block again there: less memory for a
    third more computing."""
    parts: int = 1
    """Parts in which every worker takes its share of a batch, one after another, for less memory. The contrastive loss
    still sees the whole global batch: features are computed twice, once without a graph (arXiv:2101.06983)."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Newest checkpoints kept; or, where the recipe says what is best, the best and the newest."""
    max_failures: int = 3
    """Restarts from the last checkpoint before a run is given up."""
    log_every: int = 10
    """Steps between logged metrics."""
    max_skipped: int = 10
    """Steps in a row, of one stream or of all, that may be skipped because a loss or gradient is not finite; after so
    many the run stops. Counted whenever metrics are logged."""
    trace_batches: bool = False
    """Write which clips every step used to trace/*.parquet below the run (`trainers.trace`)."""
    profile: int = 0
    """Steps to record with torch's profiler, after the first five; 0: none. A Chrome trace and a table of the ten
    dearest operations are written to profile/ below the run."""

    def __post_init__(self) -> None:
        """ValueError for a `workers` that is no number and no range."""
        if not 1 <= self.fewest_workers <= self.most_workers:
            raise ValueError(f"launch.workers: {self.workers!r} is neither a number nor a range such as 4:16")

    def on_gpu(self, num_gpus: float) -> bool:
        """Whether a cluster with so many GPUs trains on them."""
        return num_gpus > 0 if self.use_gpu is None else self.use_gpu

    @property
    def fewest_workers(self) -> int:
        """The lower end of `workers`."""
        return _ends(self.workers)[0]

    @property
    def most_workers(self) -> int:
        """The upper end of `workers`."""
        return _ends(self.workers)[1]


def _ends(workers: int | str) -> tuple[int, int]:
    """(0, 0) for what is no range."""
    found = re.fullmatch(r"(\d+)(?::(\d+))?", str(workers))
    return (int(found[1]), int(found[2] or found[1])) if found else (0, 0)


@dataclass(frozen=True)
class Training:
    """Model, stages and seed: with the shards they decide the weights."""

    model: Model
    pixels: Pixels
    stages: tuple[Stage, ...]
    seed: int = 0
    init: str | None = None
    """Start weights: a hub id (`owner/name` or `owner/name@revision`), or a file, folder or URI, in the layout of
    CLIP (transformers' or OpenAI's names), OpenCLIP, TVTSv2 (released or training checkpoints) or our own
    (checkpoint or export); what it does not cover starts fresh. None: all fresh."""
    launch: Launch = field(default_factory=Launch)

    @property
    def num_frames(self) -> int:
        """Frames of the longest clips, and so of those that are evaluated."""
        return max(stream.frames for stage in self.stages for stream in stage.streams)
