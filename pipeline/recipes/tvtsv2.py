"""TVTSv2 (arXiv:2305.14173).   Run: reelscript run tvtsv2-tiny   or: reelscript train tvtsv2-b32 --data.root s3://…"""

from dataclasses import replace
from functools import partial

from ingest.settings import Frames, Ingest, Pool, Pools, RandomWindows, Speech
from pipeline.demo.grammar import ALL_THINGS, evaluation_caption, still_caption
from pipeline.recipe import Data, DataSource, Evaluation, Recipe, Validating
from trainers.evaluation.protocols.drift import Drift
from trainers.evaluation.protocols.recognition import Recognition
from trainers.evaluation.protocols.retrieval import Retrieval
from trainers.evaluation.protocols.sorting import Sorting as SortingScores
from trainers.evaluation.protocols.twins import Twins
from trainers.launch_settings import Launch
from trainers.models.sizes import SortingHead, TextTower, VideoTower
from trainers.objectives.settings import Contrastive, Sorting
from trainers.recipe import (
    CLIP_MEAN,
    CLIP_STD,
    Cosine,
    Drops,
    Optimizer,
    Pixels,
    Rate,
    Stage,
    Stream,
    Training,
)
from trainers.systems.tvtsv2.rows import TVTSv2Reads
from trainers.systems.tvtsv2.settings import NEW, UNDECAYED, TVTSv2
from tune.space import Grid, Search

NUM_FRAMES = 12  # 3 per transcript, K = 4 (section 10.1)


def tvtsv2_b32() -> Recipe:
    """ViT-B/32 from OpenAI CLIP: no masking, 24 clips per GPU and stream (section 2)."""
    return _published("tvtsv2-b32", TVTSv2(), mask_ratio=0.0, clips_per_gpu=24, frozen_text_blocks=9)


def tvtsv2_b16() -> Recipe:
    """ViT-B/16 from OpenAI CLIP: half of the patches masked, 12 clips per GPU and stream (section 2)."""
    system = TVTSv2(video=VideoTower(patch_size=16))
    return _published("tvtsv2-b16", system, mask_ratio=0.5, clips_per_gpu=12, frozen_text_blocks=9)


def tvtsv2_h14() -> Recipe:
    """ViT-H/14 from OpenCLIP laion2b_s32b_b79k: 70 % masked, 2 clips per GPU and stream (section 2)."""
    system = TVTSv2(
        flavour="h",
        embedding=1024,
        video=VideoTower(patch_size=14, width=1280, layers=32, heads=16),
        text=TextTower(width=1024, layers=24, heads=16),
        sorting=SortingHead(heads=16),
    )
    return _published("tvtsv2-h14", system, mask_ratio=0.7, clips_per_gpu=2, frozen_text_blocks=18)


def _published(
    name: str,
    system: TVTSv2,
    *,
    mask_ratio: float,
    clips_per_gpu: int,
    frozen_text_blocks: int,
    workers: int = 8,
) -> Recipe:
    batch_size = clips_per_gpu * workers
    stream = partial(Stream, batch_size=batch_size, frames=NUM_FRAMES, rows_per_unit=clips_per_gpu)
    reads = partial(TVTSv2Reads, mask_ratio=mask_ratio)
    stage = Stage(
        name="tvtsv2",
        streams=(
            stream(
                "narrated", reads=reads(text="transcripts"), objectives={"contrastive": 1.0, "sorting": 2.0}
            ),
            stream("captioned", reads=reads(text="captions"), objectives={"contrastive": 1.0}),
        ),
        objectives=(Contrastive(), Sorting()),
        # The paper trains ten epochs of YT-Temporal; the size of its split is not published, so this is a choice.
        steps=200_000,
        optimizer=Optimizer(
            rates=rates(1e-4, 1e-7), undecayed=UNDECAYED, course=Drops(steps_per_epoch=20_000)
        ),
        frozen_below={"text": frozen_text_blocks},
    )
    layers = system.text.layers
    return Recipe(
        name=name,
        data=Data(root="data", sources=_archives()),
        training=Training(system, Pixels(), (stage,), launch=Launch(workers=workers, checkpoint_every=1000)),
        ingest=Ingest(narrated=RandomWindows(), frames=Frames(short_side=268)),
        search=Search(
            space={"stages.0.frozen_below.text": Grid(tuple(layers * quarter // 4 for quarter in range(5)))},
            metric="captions/t2v_R1",
            words={"stages.0.frozen_below.text": "lower text blocks frozen"},
        ),
        evaluation=Evaluation(protocols=(Retrieval(), SortingScores()), captions="held_out/captions.json"),
        store=f"outputs/{name}/clips",
        output=f"outputs/{name}",
    )


def rates(new: float, rest: float) -> dict[str, Rate]:
    """The rates of section 8: of what CLIP's weights do not cover, and of all else."""
    return {"new": Rate(new, NEW), "rest": Rate(rest)}


def _archives() -> tuple[DataSource, ...]:
    return (
        DataSource("yt_temporal", "narrated", "yt_temporal", "meta_data/yttemporal_train.csv"),
        DataSource("webvid", "captioned", "webvid", "results_train.csv"),
        DataSource("yt_temporal", "val", "held_out", "meta_data/yttemporal_val.csv"),
        DataSource("yt_temporal", "test", "held_out", "meta_data/yttemporal_test.csv"),
    )


def tvtsv2_plus_b32() -> Recipe:
    """ViT-B/32 with the better form of each published weakness (see `plus`)."""
    return plus("tvtsv2-plus-b32", tvtsv2_b32())


def tvtsv2_plus_b16() -> Recipe:
    """ViT-B/16 with the better form of each published weakness (see `plus`)."""
    return plus("tvtsv2-plus-b16", tvtsv2_b16())


def tvtsv2_plus_h14() -> Recipe:
    """ViT-H/14 with the better form of each published weakness (see `plus`)."""
    return plus("tvtsv2-plus-h14", tvtsv2_h14())


def tvtsv2_plus_tiny() -> Recipe:
    """The demo's twin of the plus recipes: frames are stored as drawn, 96 pixels wide; the tower reads 64."""
    recipe = plus("tvtsv2-plus-tiny", tvtsv2_tiny())
    return replace(
        recipe,
        ingest=replace(recipe.ingest, frames=replace(recipe.ingest.frames, short_side=96)),
        training=replace(recipe.training, pixels=replace(recipe.training.pixels, short_side=96, crop=96)),
    )


def plus(name: str, recipe: Recipe) -> Recipe:
    """The recipe with the better forms of section 17, each explained at its field.

    The temporal attention starts so that all of it trains; the contrastive gradient does not weaken with the number
    of workers; AdamW is torch's, and rests for parameters that a step does not use; frames are stored larger than
    they are read, and resized with an antialiased filter on the training device, with CLIP's constants.
    """
    training = recipe.training
    assert isinstance(training.system, TVTSv2)
    video = replace(training.system.video, temporal_start="from_spatial")
    stages = tuple(
        replace(
            stage,
            objectives=tuple(
                replace(each, gather="summed") if isinstance(each, Contrastive) else each
                for each in stage.objectives
            ),
            optimizer=replace(stage.optimizer, form="torch", unused="skip"),
        )
        for stage in training.stages
    )
    pixels = Pixels(short_side=320, crop=268, resize="bicubic", mean=CLIP_MEAN, std=CLIP_STD)
    return replace(
        recipe,
        name=name,
        training=replace(
            training, system=replace(training.system, video=video), pixels=pixels, stages=stages
        ),
        ingest=replace(recipe.ingest, frames=replace(recipe.ingest.frames, short_side=320, resize="bicubic")),
        store=f"outputs/{name}/clips",
        output=f"outputs/{name}",
    )


def tvtsv2_tiny() -> Recipe:
    """The demo's twin: both stages on the narrated corpus of coloured shapes, from fresh weights, on a laptop's CPU.

    What differs from the paper is named here: a first stage on stills stands for CLIP, the temporal table starts as
    long as the fresh patch embedding, the temporal attention starts from the spatial one (no seed then stays long on
    the sorting plateau), rates are those of training from scratch, and AdamW is torch's.
    """
    # A fresh patch embedding has rows of norm about 7 and the published table about 1: time would drown and sorting
    # stay at ln 4 (6 / sqrt(128) is the start that sorts within 200 steps).
    video = VideoTower(
        image_size=64,
        patch_size=16,
        width=128,
        layers=3,
        heads=4,
        temporal_start_std=6 * 128**-0.5,
        temporal_start="from_spatial",
    )
    system = TVTSv2(
        embedding=128,
        video=video,
        text=TextTower(context=64, width=128, layers=4, heads=4),
        sorting=SortingHead(heads=4),
    )
    whole, half = TVTSv2Reads(text="captions"), TVTSv2Reads(text="captions", mask_ratio=0.5)
    stills = Stream("stills", 128, whole, {"contrastive": 1.0}, frames=1, rows_per_unit=64)
    captioned = Stream("captioned", 16, half, {"contrastive": 1.0}, NUM_FRAMES, rows_per_unit=8)
    transcripts = replace(half, text="transcripts")
    narrated = replace(
        captioned, name="narrated", reads=transcripts, objectives={"contrastive": 1.0, "sorting": 2.0}
    )
    from_scratch = Optimizer(
        rates=rates(1e-3, 5e-4),
        undecayed=UNDECAYED,
        form="torch",
        unused="skip",
        course=Cosine(warmup_steps=20),
        max_grad_norm=1.0,
    )
    objectives = (Contrastive(), Sorting())
    stages = (
        Stage(
            "stills",
            (stills,),
            objectives,
            steps=220,
            optimizer=replace(from_scratch, rates=rates(1e-3, 1e-3)),
        ),
        Stage(
            "tvtsv2",
            (narrated, captioned),
            objectives,
            steps=400,
            optimizer=from_scratch,
            frozen_below={"text": 4},
        ),
    )
    # Which of the 24 coloured shapes a video shows, asked in the words it was trained on and in those of D.
    classes = {
        "B": tuple(still_caption([thing], "B").removeprefix("a picture of ") for thing in ALL_THINGS),
        "D": tuple(evaluation_caption([thing]) for thing in ALL_THINGS),
    }
    return Recipe(
        name="tvtsv2-tiny",
        data=Data(
            root="outputs/demo/raw",
            sources=(
                *_archives(),
                DataSource("yt_temporal", "twins", "held_out", "meta_data/yttemporal_twins.csv"),
                DataSource("cc12m", "stills", "cc12m"),
            ),
        ),
        # One thread: on two cores a second one only takes turns with the readers (0.4 s a step against 0.2).
        training=Training(system, Pixels(short_side=64, crop=64), stages, launch=Launch(threads=1)),
        ingest=Ingest(
            frames=Frames(short_side=64),
            speech=Speech(model="outputs/demo/speech_model.pt"),
            pools=Pools(speech=Pool(num_gpus=0.1)),
        ),
        search=Search(
            space={"stages.1.frozen_below.text": Grid((0, 2, 3, 4))},
            steps=80,
            metric="D/t2v_R1",
            against="B/t2v_R1",
            protocols=(Recognition(classes=classes), Drift()),
            words={"stages.1.frozen_below.text": "lower text blocks frozen"},
        ),
        evaluation=Evaluation(
            stream="test",
            protocols=(Retrieval(), SortingScores(), Twins()),
            captions="held_out/captions.json",
            registers={
                "A": "The narration: one sentence an event, without a word of order; the four features are averaged.",
                "B": "Captions worded as those trained on; they state the order.",
                "D": "Another wording, never seen with a video; it names what the stills of stage 1 showed.",
            },
        ),
        validation=Validating("val"),
        store="outputs/demo/clips",
        output="outputs/demo",
    )
