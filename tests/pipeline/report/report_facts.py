"""Facts of a run that never happened: drawn frames, curves from formulas."""

import json
import math
import random

import numpy as np
import simplejpeg

from ingest.records import Clip, Reject, Utterance
from pipeline.demo.grammar import ALL_THINGS, MOTIONS, Event, evaluation_caption, narration, ordered_caption
from pipeline.evaluation.scores import Scores
from pipeline.report.facts import Curve, Line, ReportData, SearchCurve, StepTime, StreamIn, Weights
from trainers.evaluation.protocol import Declared, Example, HeldOut, Hit, Measured, declared_by
from trainers.evaluation.protocols.retrieval import Retrieval
from trainers.evaluation.protocols.sorting import Sorting
from trainers.evaluation.protocols.twins import Twins
from trainers.systems.tvtsv2.settings import TVTSv2
from tune.curve import Point
from tune.results import Failed, Trial
from tune.settings import Setting

_COLOURS = {"red": (220, 60, 60), "green": (60, 180, 90), "blue": (70, 110, 230), "yellow": (235, 200, 60)}
_COLOURS |= {"purple": (160, 80, 200), "white": (240, 240, 240)}
REGISTERS = {
    "A": "The narration: one sentence an event, without a word of order; the four features are averaged.",
    "B": "Captions as they were trained on; they state the order.",
    "D": "Another wording, never seen with a video; it names what the stills show.",
}
_TEXTS = {"m": {"A": ["one", "two"], "B": ["one, then two"], "D": ["two and one"]}}
DECLARED = declared_by((Retrieval(), Sorting(), Twins()), HeldOut("test", TVTSv2(), _TEXTS, REGISTERS))


def frame(event: Event, share: float, side: int = 64) -> bytes:
    """A square of the event's colour on grey, `share` of its way through."""
    pixels = np.full((side, side, 3), 38, np.uint8)
    place = int(8 + share * (side - 32))
    row, column = {"up": (side - 24 - place, 22), "down": (place, 22), "left": (22, side - 24 - place)}.get(
        event.motion, (22, place)
    )
    pixels[max(0, row) : row + 18, max(0, column) : column + 18] = _COLOURS[event.thing.colour]
    return bytes(simplejpeg.encode_jpeg(pixels, quality=92))


def narrated_clip(seed: int, origin: str = "provider") -> tuple[Clip, list[Event]]:
    """Four events of two seconds each, 24 frames."""
    draw = random.Random(seed)
    events = [Event(thing, draw.choice(MOTIONS)) for thing in draw.sample(ALL_THINGS, 4)]
    said = [
        Utterance(narration(e), 0.3 + 2.1 * i, 2.0 + 2.1 * i, origin=origin) for i, e in enumerate(events)
    ]
    frames = tuple(frame(events[i // 6], (i % 6) / 5) for i in range(24))
    times = tuple(0.3 + i * 8 / 24 for i in range(24))
    uid = f"clip{seed:04d}"
    clip = Clip(uid, f"media{seed}", "yt_temporal", "video", f"raw/{seed}.mp4", 0.3, 8.5)
    return Clip(
        **{**clip.__dict__, "transcripts": tuple(said), "frame_times_s": times, "frames": frames}
    ), events


def report_data(num_seeds: int = 3) -> ReportData:
    """A whole run: four samples, two stages of losses, a search over four depths, three kinds of weights."""
    told = [narrated_clip(seed, "provider" if seed % 2 else "demo speech model") for seed in range(12)]
    clips = [clip for clip, _ in told]
    trained = tuple(
        _scores(0.62 + 0.03 * seed, 0.8, 0.4, 0.25, 1, _examples(told)) for seed in range(num_seeds)
    )
    return ReportData(
        recipe="tvtsv2-tiny",
        command="reelscript run tvtsv2-tiny",
        date="2025-11-22 08:05 UTC",
        commit="3f9ac1e2b7",
        machine="2 CPU cores, 8 GB, no GPU, Linux x86_64",
        seeds=tuple(range(num_seeds)),
        steps=_steps(),
        streams=_streams(),
        rejects=_rejects(),
        samples=(clips[0], clips[1], _captioned(*told[2]), _still(told[3][1]), _still(told[4][1])),
        curves=_curves(),
        lines=_lines(),
        search=_search(num_seeds),
        weights=(
            Weights("random", "random weights", (_scores(0.01, 0.25, 0.0, 0.26, 50),)),
            Weights("start", "start weights", (_scores(0.12, 0.25, 0.01, 0.24, 9),)),
            Weights("trained", "trained", trained),
        ),
        gallery={clip.uid: clip for clip in clips},
        recipe_json=json.dumps({"name": "tvtsv2-tiny", "training": {"seed": 0}}, indent=2),
    )


def _scores(
    first: float,
    position: float,
    all_right: float,
    control: float,
    median: float,
    examples: tuple[Example, ...] = (),
) -> Scores:
    metrics = {}
    for register, factor in (("A", 0.5), ("B", 1.0), ("D", 0.8)):
        for direction in ("t2v", "v2t"):
            one = first * factor
            cuts = {"R1": one, "R5": min(1.0, one**0.45), "R10": min(1.0, one**0.3)}
            metrics |= {f"{register}/{direction}_{cut}": value for cut, value in cuts.items()}
            metrics[f"{register}/{direction}_MedR"] = median
    metrics |= {"sorting/position": position, "sorting/all_right": all_right, "sorting/control": control}
    metrics |= {"twins/B/t2v": max(0.5, first), "twins/B/v2t": max(0.5, first - 0.05)}
    metrics = {name: value if name.endswith("MedR") else 100 * value for name, value in metrics.items()}
    measured = tuple(_measured(DECLARED[name], value) for name, value in metrics.items())
    return Scores(measured, num_clips=100, examples=examples)


def _measured(declared: Declared, value: float) -> Measured:
    """On 100 clips and 20 pairs of twins."""
    measure = declared.name.rpartition("_")[2]
    if measure == "MedR":
        return Measured(declared, float(value), 50.5)
    chance = declared.chance or float(measure.removeprefix("R"))
    return Measured(declared, value, chance, 20 if declared.name.startswith("twins/") else 100)


def _lines() -> tuple[Line, ...]:
    steps = (100.0, 200.0, 300.0, 400.0)
    found, placed = "text to video R@1 on val", "transcripts placed right on val"
    scores = {"A": (22.0, 40.0, 52.0, 56.0), "B": (24.0, 44.0, 58.0, 60.0), "D": (30.0, 50.0, 46.0, 44.0)}
    retrieval = [
        Line("tvtsv2", found, name, tuple(zip(steps, ys, strict=True)), 2.0) for name, ys in scores.items()
    ]
    sorting = Line(
        "tvtsv2", placed, "sorting", tuple(zip(steps, (25.0, 26.0, 70.0, 82.0), strict=True)), 25.0
    )
    return (*retrieval, sorting)


def _examples(told: list[tuple[Clip, list[Event]]]) -> tuple[Example, ...]:
    rows = []
    for index, register in enumerate("BDDA"):
        clip, events = told[index]
        things = [event.thing for event in events]
        text = {"B": ordered_caption(events), "D": evaluation_caption(things)}.get(
            register, " ".join(map(narration, events))
        )
        rank = (1, 1, 3, 12)[index]
        others = [c.uid for c, _ in told if c.uid != clip.uid][:5]
        found = [*others[: rank - 1], clip.uid, *others[rank - 1 :]][:5] if rank <= 5 else others
        hits = tuple(Hit(uid, 0.91 - 0.07 * place) for place, uid in enumerate(found))
        rows.append(Example(f"register {register}", text, clip.uid, rank, hits))
    return tuple(rows)


def _captioned(clip: Clip, events: list[Event]) -> Clip:
    return Clip(
        **{**clip.__dict__, "source": "webvid", "transcripts": (), "captions": (ordered_caption(events),)}
    )


def _still(events: list[Event]) -> Clip:
    caption = evaluation_caption([event.thing for event in events[:2]])
    picture = (frame(events[0], 0.5),)
    return Clip("still", "m", "cc12m", "image", "raw/0.tar", 0, 0, captions=(caption,), frames=picture)


def _steps() -> tuple[StepTime, ...]:
    return (
        StepTime("Corpus", 41, "1,212 videos, 12,000 stills, 5 broken on purpose"),
        StepTime("Ingest", 96, "1,540 clips, 60 videos transcribed"),
        StepTime("Stage stills", 118, "300 steps, stands for CLIP"),
        StepTime("Search", 164, "4 depths, 1 seed"),
        StepTime("Stage tvtsv2", 105, "400 steps"),
        StepTime("Evaluate", 24, "100 clips, 3 kinds of weights", earlier=True),
    )


def _streams() -> tuple[StreamIn, ...]:
    return (
        StreamIn("narrated", "yt_temporal", 600, 612, 3, 1.42, 23_400_000, transcribed=300),
        StreamIn("captioned", "webvid", 600, 600, 2, 1.38, 22_900_000),
        StreamIn("stills", "cc12m", 12_000, 12_000, 0, 0.0, 17_200_000),
        StreamIn("test", "yt_temporal", 100, 100, 0, 0.24, 3_800_000),
    )


def _rejects() -> tuple[Reject, ...]:
    def aside(name: str, stage: str, reason: str, detail: str, stream: str) -> Reject:
        return Reject(name, stage, reason, detail, stream, f"outputs/demo/raw/{stream}/videos/{name}.mp4")

    return (
        aside(
            "broken_truncated",
            "probe",
            "truncated",
            "the file ends before its index (moov atom not found)",
            "webvid",
        ),
        aside("broken_empty", "probe", "empty", "the file has 0 bytes", "webvid"),
        aside("broken_no_video", "probe", "no_video", "1 audio track, no video track", "yt_temporal"),
        aside("broken_text", "probe", "not_a_video", "begins with <!DOCTYPE html>", "yt_temporal"),
        aside(
            "broken_length", "frames", "too_short", "says 3,600.0 s, decoding ends after 2.0 s", "yt_temporal"
        ),
    )


def _curves() -> tuple[Curve, ...]:
    def falling(
        start: float, end: float, rate: float, steps: range, seed: int
    ) -> tuple[tuple[float, float], ...]:
        noise = random.Random(seed)
        return tuple(
            (s, end + (start - end) * math.exp(-rate * s) + noise.gauss(0, 0.06) * start / 3) for s in steps
        )

    two = 2 * math.log(16)
    return (
        Curve(
            "stills",
            "contrastive",
            "stills",
            falling(9.6, 1.4, 0.012, range(10, 301, 10), 1),
            2 * math.log(128),
        ),
        Curve("tvtsv2", "contrastive", "narrated", falling(5.4, 1.9, 0.012, range(10, 401, 10), 2), two),
        Curve("tvtsv2", "contrastive", "captioned", falling(5.1, 0.9, 0.014, range(10, 401, 10), 3), two),
        Curve("tvtsv2", "sorting", "narrated", falling(1.5, 0.55, 0.010, range(10, 401, 10), 4), math.log(4)),
    )


def _search(num_seeds: int) -> SearchCurve:
    field, noise = "stages.1.frozen_below.text", random.Random(5)
    points = [
        Point(
            depth,
            str(depth),
            tuple(
                Trial(
                    Setting({field: depth}),
                    seed,
                    {"D/t2v_R1": value + noise.uniform(-3, 3), "B/t2v_R1": 66.0 - 4 * depth},
                    "",
                    "",
                )
                for seed in range(num_seeds)
            ),
        )
        for depth, value in {0: 31, 2: 37, 3: 43, 4: 40}.items()
    ]
    return SearchCurve(
        "lower text blocks frozen",
        "val",
        tuple(points),
        winner=points[2],
        has_axis=True,
        shown=(DECLARED["D/t2v_R1"], DECLARED["B/t2v_R1"]),
        start={"D/t2v_R1": 50.0, "B/t2v_R1": 12.0},
        failed=(Failed(Setting({field: 1}), 0, "the disk was full"),),
        disagreement="lower text blocks frozen: B/t2v_R1 is best at 0.",
    )
