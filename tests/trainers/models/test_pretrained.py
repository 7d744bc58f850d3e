"""Exports that are not what they should be: each is refused in a sentence that names the problem."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from infra.errors import UserError
from tests.trainers.models.weights.hub_server import SHA
from tests.trainers.tiny import PIXELS, SYSTEM, tiny_model
from trainers.models.pretrained import Usage
from trainers.models.video_text import VideoTextModel


def exported(folder: Path) -> Path:
    """A small model as `export` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(Usage(SYSTEM, PIXELS, 4).to_json())
    save_file(tiny_model(seed=1).state_dict(), folder / "model.safetensors")
    return folder


def reconfigured(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Damage: another config.json."""

    def damage(folder: Path) -> None:
        plain = json.loads((folder / "config.json").read_text())
        change(plain)
        (folder / "config.json").write_text(json.dumps(plain))

    return damage


def reweighted(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    """Damage: other weights."""

    def damage(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors")

    return damage


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "config.json").unlink(), r"is no exported model, config\.json missing"),
        (lambda f: (f / "model.safetensors").unlink(), r"is no exported model, model\.safetensors missing"),
        (lambda f: (f / "config.json").write_text("{"), r"config\.json does not describe a model: Expecting"),
        (lambda f: (f / "config.json").write_text("[]"), "is not the config of a Reelscript export"),
        (reconfigured(lambda c: c.pop("format")), "it has no format 'reelscript'"),
        (reconfigured(lambda c: c.update(format_version=3)), "format version 3, but this Reelscript reads 2"),
        (reconfigured(lambda c: c.pop("pixels")), "Usage lacks its field 'pixels'"),
        (reconfigured(lambda c: c["system"].update(depth=3)), "TVTSv2 has no field 'depth'"),
        (reconfigured(lambda c: c.update(num_frames=13)), "num_frames is 13, not between 1 and 12"),
        (
            reconfigured(lambda c: c["pixels"].update(crop=8)),
            "crop is 8, but the system's frames have 16 pixels",
        ),
        (reconfigured(lambda c: c["system"]["video"].update(width="16")), "width is '16', not int"),
        (reconfigured(lambda c: c["system"].update(flavour="x")), "flavour is 'x', not one of 'b', 'h'"),
        (
            reconfigured(lambda c: c["system"]["video"].update(heads=3)),
            "heads is 3, which does not divide the width 16",
        ),
        (reconfigured(lambda c: c["system"]["video"].update(patch_size=0)), "does not describe a model"),
        (reconfigured(lambda c: c["system"]["text"].update(layers=3)), r"missing: text\.blocks\.2\."),
        (reweighted(lambda w: w.pop("video.projection")), r"missing: video\.projection$"),
        (reweighted(lambda w: w.update(more=torch.ones(1))), "extra: more$"),
        (
            reweighted(lambda w: w.update({"video.projection": torch.ones(2, 2)})),
            r"misshapen: video\.projection \(2, 2\) instead of \(16, 16\)$",
        ),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x10"), r"model\.safetensors is cut off"),
    ],
)
def test_an_export_that_is_not_whole_is_refused_by_name(
    tmp_path: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    damage(exported(tmp_path / "export"))
    with pytest.raises(UserError, match=sentence) as refusal:
        VideoTextModel.from_pretrained(str(tmp_path / "export"))
    assert "export" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_place_with_nothing_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: not found"):
        VideoTextModel.from_pretrained(str(tmp_path / "nowhere"))


def test_an_export_on_the_hub_is_used_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    exported(tmp_path / "models--me--films" / "snapshots" / SHA)
    (tmp_path / "models--me--films" / "refs").mkdir()
    (tmp_path / "models--me--films" / "refs" / "main").write_text(SHA)
    model = VideoTextModel.from_pretrained("me/films")
    assert torch.equal(model.text.projection, tiny_model(seed=1).text.projection)


def test_frames_of_any_size_are_embedded_and_too_many_are_refused(tmp_path: Path) -> None:
    model = VideoTextModel.from_pretrained(str(exported(tmp_path / "export")))
    for height, width in ((16, 16), (50, 90), (300, 64)):
        assert model.embed_frames(np.zeros((4, height, width, 3), np.uint8)).shape == (1, 16)
    with pytest.raises(ValueError, match="13 frames were given; this model takes 1 to 12"):
        model.embed_frames(np.zeros((13, 16, 16, 3), np.uint8))
    with pytest.raises(UserError, match="does not know its pixels"):
        tiny_model().embed_frames(np.zeros((4, 16, 16, 3), np.uint8))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_embeddings_of_the_cpu(tmp_path: Path) -> None:
    model = VideoTextModel.from_pretrained(str(exported(tmp_path / "export")))
    frames = np.random.default_rng(0).integers(0, 256, (4, 40, 60, 3), np.uint8)
    here = model.embed_frames(frames)
    there = model.to("cuda").embed_frames(frames)
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), here, atol=1e-4, rtol=1e-4)
