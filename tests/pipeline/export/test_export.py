"""A checkpoint given to others: what they embed is what the evaluation embeds, and no folder is written over."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import simplejpeg
import torch
from torch.testing import assert_close

from infra.errors import UserError
from infra.journal import Journal
from infra.objects import list_files
from ingest.decode.films import read_frames
from ingest.records import Clip, to_table
from pipeline.cli import main
from pipeline.demo.films import write_mp4
from pipeline.demo.scenes import Canvas
from pipeline.evaluation.cluster.embed import Checkpoint, Collector, Models
from pipeline.export.export import checkpoint_at, export
from tests.conftest import S3Server
from tests.ingest.clips import synthetic_clip
from tests.ingest.media_files import write_video
from tests.pipeline.gallery import tiny_gallery
from tests.trainers.tiny import SYSTEM, tiny_model
from trainers.checkpoints import checkpoint
from trainers.evaluation.dual_encoder import Features
from trainers.evaluation.protocol import Round
from trainers.loop.train import build_learner
from trainers.models.video_text import VideoTextModel
from trainers.models.weights.files import load_start, read_weights
from trainers.objectives.settings import Contrastive, Sorting
from trainers.recipe import Pixels, Stage, Stream, Training
from trainers.systems.tvtsv2.rows import TVTSv2Reads

FRAMES = 4
STREAM = Stream(
    "narrated", 8, TVTSv2Reads(text="transcripts"), {"contrastive": 1.0, "sorting": 2.0}, frames=FRAMES
)
OBJECTIVES = (Contrastive(), Sorting())
STAGES = (
    Stage("first", (STREAM,), OBJECTIVES, 7),
    Stage("second", (STREAM,), OBJECTIVES, 40, frozen_below={"text": 1}),
)
NEAREST, BICUBIC = Pixels(short_side=20, crop=16), Pixels(short_side=20, crop=20, resize="bicubic")
LINEAGE = {
    "recipe": json.dumps({"name": "tiny-film"}),
    "commit": "c0ffee",
    "ledger/narrated": "5eed",
    "stage": "second",
}


def trained(folder: Path, pixels: Pixels = NEAREST, **changes: object) -> str:
    """A checkpoint of the second stage, of a model that does not start in symmetry."""
    training = replace(Training(SYSTEM, pixels, STAGES, seed=3), **changes)  # type: ignore[arg-type]
    learner = build_learner(training, 1, torch.device("cpu"), None, None)
    with torch.no_grad():
        for value in learner.task.model.parameters():
            value.add_(torch.randn_like(value), alpha=0.05)
    learner.step = 40
    there = folder / "second-0123" / "checkpoint_00000040"
    there.mkdir(parents=True)
    checkpoint.save(there, learner.task.model, learner.state(), training, LINEAGE)
    return str(there)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A checkpoint and its export."""
    folder = tmp_path_factory.mktemp("given")
    source, there = trained(folder), str(folder / "export")
    export(source, there)
    return source, there


def coloured_film(path: Path) -> Path:
    """20 x 20 pixels, the side at which frames are stored here; every place and moment has its colour."""
    coarse = np.random.default_rng(0).integers(0, 256, (8, 5, 5, 3), np.uint8)
    write_mp4(path, np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2), Canvas(size=20))
    return path


@pytest.mark.parametrize("pixels", [NEAREST, BICUBIC], ids=["nearest", "bicubic"])
def test_a_film_and_texts_are_embedded_as_by_the_evaluation(tmp_path: Path, pixels: Pixels) -> None:
    source = trained(tmp_path, pixels)
    export(source, str(tmp_path / "export"))
    film = coloured_film(tmp_path / "film.mp4")
    model = VideoTextModel.from_pretrained(str(tmp_path / "export"))
    stored = [simplejpeg.encode_jpeg(frame, quality=95) for frame in read_frames(str(film), model.num_frames)]
    clip = replace(synthetic_clip(0), frames=tuple(stored), frame_times_s=tuple(map(float, range(FRAMES))))
    texts = {clip.media_uid: {"B": ["a grey film grows lighter"]}}
    gallery = tiny_gallery("", texts, pixels)
    models = Models.load({"given": Checkpoint(source)}, gallery.held_out)
    collector = Collector(gallery, models, {"given": [Round(("test",), Features())]})
    rows = to_table(Clip, [clip]).append_column("stream", pa.array(["test"]))
    evaluated = next(collector(rows)).columns["given", 0]
    frames = np.stack([simplejpeg.decode_jpeg(frame) for frame in stored])
    for ours, theirs in (
        (model.embed_frames(frames), evaluated["video"]),
        (model.embed_texts(texts[clip.media_uid]["B"]), evaluated["texts/B"]),
    ):
        assert_close(ours, torch.nn.functional.normalize(torch.from_numpy(theirs)), atol=1e-5, rtol=1e-5)


def test_five_lines_give_the_cosines_of_a_film_and_two_texts(given: tuple[str, str], tmp_path: Path) -> None:
    film = str(write_video(tmp_path / "film.mp4", size=(48, 40)))
    model = VideoTextModel.from_pretrained(given[1]).to("cpu")
    video = model.embed_frames(read_frames(film, model.num_frames))
    text = model.embed_texts(["a red circle floats upward", "a blue square spins"])
    assert (text @ video.T).shape == (2, 1)
    assert_close(video.norm(dim=-1), torch.ones(1))
    assert not model.training


def test_the_card_says_what_the_checkpoint_knows_and_nothing_else(given: tuple[str, str]) -> None:
    card = Path(given[1], "README.md").read_text()
    front, _, text = card.removeprefix("---\n").partition("\n---\n")
    assert "library_name: reelscript" in front
    assert "base_model" not in front
    for fact in (
        "Recipe tiny-film, seed 3, commit c0ffee",
        "step 40 of stage second",
        "| second | 40 | narrated, 8 clips a step: 1 x contrastive + 2 x sorting | 1 lowest blocks of text |",
        "narrated `5eed`",
        "none, trained from fresh weights",
        "No numbers were handed over",
    ):
        assert fact in text
    model = VideoTextModel.from_pretrained(given[1])
    assert f"| video tower | {sum(p.numel() for p in model.video.parameters()):,} |" in text
    assert str(Path(given[0]).parent) not in card


def test_a_run_is_exported_as_the_checkpoint_that_its_training_ended_with(
    given: tuple[str, str], tmp_path: Path
) -> None:
    output = str(tmp_path / "run")
    journal = Journal(output)
    journal.record("seed-3/stage-first", "inputs", {"checkpoint": given[0]}, 1.0)
    with pytest.raises(UserError, match="the last stage, 'second', has not been trained to its end"):
        checkpoint_at(output)
    journal.record("seed-3/stage-second", "inputs", {"checkpoint": given[0]}, 1.0)
    assert checkpoint_at(output) == checkpoint_at(given[0]) == given[0]
    journal.record("seed-4/stage-second", "inputs", {"checkpoint": "another"}, 1.0)
    with pytest.raises(
        UserError, match=r"holds several trainings \(seed-3, seed-4\); name the checkpoint of one"
    ):
        checkpoint_at(output)
    with pytest.raises(UserError, match="the output of tvtsv2-h14, holds no finished stage"):
        checkpoint_at("tvtsv2-h14")


def test_start_weights_and_numbers_are_named_in_the_card(tmp_path: Path) -> None:
    source = trained(tmp_path)
    plain = json.loads(Path(source, "recipe.json").read_text())
    plain["init"] = "openai/clip-vit-base-patch32@main"
    Path(source, "recipe.json").write_text(json.dumps(plain))
    record = {"result": {"random": {"metrics": {"B/t2v_R1": 4}}, "trained": {"metrics": {"B/t2v_R1": 61.25}}}}
    (tmp_path / "evaluate.json").write_text(json.dumps(record))
    export(source, str(tmp_path / "export"), metrics=str(tmp_path / "evaluate.json"))
    card = (tmp_path / "export" / "README.md").read_text()
    assert "base_model: openai/clip-vit-base-patch32\n" in card
    assert "| metric | random | trained |\n|---|---:|---:|\n| B/t2v_R1 | 4.00 | 61.25 |\n" in card
    (tmp_path / "evaluate.json").write_text('{"B/t2v_R1": "high"}')
    with pytest.raises(UserError, match=r"evaluate\.json: not a file of metrics"):
        export(source, str(tmp_path / "other"), metrics=str(tmp_path / "evaluate.json"))
    assert not (tmp_path / "other").exists()


def test_the_released_layout_holds_the_towers_alone_and_starts_a_training(
    given: tuple[str, str], tmp_path: Path
) -> None:
    there = str(tmp_path / "released")
    export(given[0], there, "tvtsv2")
    file = torch.load(tmp_path / "released" / "TVTSv2.pth", weights_only=True)
    assert file.keys() == {"state_dict"}
    assert all(name.startswith(("text_", "video_model.")) for name in file["state_dict"])
    model, source = tiny_model(), VideoTextModel.from_pretrained(given[1])
    assert load_start(model, read_weights(there), there) == "tvtsv2"
    for tower in ("video", "text"):
        ours, theirs = (each.get_submodule(tower).state_dict() for each in (model, source))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(
        UserError, match=r"released is no exported model, config\.json and model\.safetensors"
    ):
        VideoTextModel.from_pretrained(there)


@pytest.mark.parametrize("which", [0, 1], ids=["checkpoint", "export"])
def test_a_checkpoint_and_an_export_are_start_weights(given: tuple[str, str], which: int) -> None:
    training = Training(SYSTEM, NEAREST, STAGES, init=given[which])
    model = build_learner(training, 0, torch.device("cpu"), None, None).task.model
    source = VideoTextModel.from_pretrained(given[1]).state_dict()
    assert all(torch.equal(value, source[name]) for name, value in model.state_dict().items())


def test_the_same_export_again_is_fine_and_another_is_not(given: tuple[str, str], tmp_path: Path) -> None:
    there = tmp_path / "export"
    assert not export(given[0], str(there)).earlier
    before = {path: path.stat().st_mtime_ns for path in there.iterdir()}
    assert export(given[0], str(there)).earlier
    (there / "config.json").unlink()  # as after a stop
    assert not export(given[0], str(there)).earlier
    assert {path: path.stat().st_mtime_ns for path in there.iterdir() if path.suffix != ".json"} == {
        path: time for path, time in before.items() if path.suffix != ".json"
    }
    with pytest.raises(UserError, match=r"holds config\.json, which is no part of this export"):
        export(given[0], str(there), "tvtsv2")
    other = trained(tmp_path, seed=4)
    with pytest.raises(UserError, match="holds another "):
        export(other, str(there))
    (there / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt"):
        export(given[0], str(there))
    with pytest.raises(UserError, match=r"notes\.txt is a file"):
        export(given[0], str(there / "notes.txt"))


def test_from_bucket_to_bucket(given: tuple[str, str], s3_server: S3Server) -> None:
    there = s3_server.uri("exports", "tiny")
    export(given[0], there)
    assert [uri.removeprefix(there) for uri in list_files(there)] == [
        "/README.md",
        "/config.json",
        "/model.safetensors",
    ]
    model = VideoTextModel.from_pretrained(there)
    assert_close(
        model.embed_texts(["a film"]), VideoTextModel.from_pretrained(given[1]).embed_texts(["a film"])
    )
    assert export(given[0], there).earlier


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder: (folder / "recipe.json").unlink(), "is no checkpoint"),
        (lambda folder: (folder / "lineage.json").write_text("3"), r"not a checkpoint's lineage"),
        (lambda folder: (folder / "lineage.json").write_text('{"recipe": "["}'), "its recipe cannot be read"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x00" * 9), "is cut off"),
    ],
)
def test_a_bad_checkpoint_is_refused_in_one_sentence_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: object, sentence: str
) -> None:
    source = trained(tmp_path)
    damage(Path(source))  # type: ignore[operator]
    with pytest.raises(SystemExit) as stop:
        main(["export", source, str(tmp_path / "export")])
    assert stop.value.code == 1
    shown = capsys.readouterr().err
    assert sentence in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "export").exists()


def test_the_terminal_tells_what_lies_where(
    given: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["export", given[0], str(tmp_path / "export")])
    assert stop.value.code == 0
    assert "model.safetensors" in capsys.readouterr().out
