"""Public checkpoints: the towers then compute what CLIP computes, and a file that does not fit is refused."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close
from transformers import CLIPConfig, CLIPModel

from infra.errors import UserError
from tests.conftest import S3Server
from tests.trainers.tiny import SYSTEM, tiny_model, training
from trainers.loop.train import build_learner
from trainers.models.sizes import Flavour
from trainers.models.weights import clip, openclip, tvtsv2
from trainers.models.weights.files import load_start, read_weights

TWO_BLOCKS = replace(SYSTEM, video=replace(SYSTEM.video, layers=2))
"""In both towers, so that a wrong order of blocks shows."""
START, END = 49406, 49407


def _clip(flavour: Flavour, patch_size: int) -> CLIPModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    shared = sizes | {"projection_dim": 16, "hidden_act": "quick_gelu" if flavour == "b" else "gelu"}
    text = {"vocab_size": 49408, "max_position_embeddings": 24, "eos_token_id": END, "bos_token_id": START}
    vision = {"image_size": 16, "patch_size": patch_size}
    config = CLIPConfig(text_config=shared | text, vision_config=shared | vision, projection_dim=16)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


@pytest.mark.parametrize(("flavour", "patch_size"), [("b", 8), ("b", 4), ("h", 2)])
@torch.no_grad()
def test_one_frame_and_a_text_are_embedded_as_by_clip(flavour: Flavour, patch_size: int) -> None:
    reference = _clip(flavour, patch_size)
    video = replace(TWO_BLOCKS.video, patch_size=patch_size)
    ours = tiny_model(replace(TWO_BLOCKS, flavour=flavour, video=video))
    clip.load(ours, reference.state_dict())
    ours.video.temporal_embedding.zero_()
    images, tokens = (
        torch.randn(3, 3, 16, 16),
        torch.tensor([[START, 5, END, *[0] * 21], [START, *range(9, 31), END]]),
    )
    image = reference.visual_projection(reference.vision_model(pixel_values=images).pooler_output)
    text = reference.text_projection(reference.text_model(input_ids=tokens).pooler_output)
    assert_close(ours.encode_video(images[:, None]).pooled, image, atol=1e-5, rtol=1e-5)
    assert_close(ours.encode_text(tokens), text, atol=1e-5, rtol=1e-5)


def test_clips_own_names_lead_back_to_the_same_weights() -> None:
    entries = clip.to_openclip(_clip("b", 8).state_dict())
    model = tiny_model(TWO_BLOCKS)
    openclip.load(model, entries)
    exported = openclip.export(model)
    assert exported.keys() == entries.keys() - {"logit_scale"}
    assert all(torch.equal(exported[name], entries[name]) for name in exported)


def test_a_released_tvtsv2_file_leaves_the_sorting_head_alone(tmp_path: Path) -> None:
    source, model = tiny_model(seed=1), tiny_model(seed=2)
    head = model.sorting.head.weight.detach().clone()
    released = {f"module.{name}": value for name, value in tvtsv2.export(source, sorting_head=False).items()}
    torch.save({"state_dict": released, "epoch": 10}, tmp_path / "TVTSv2.pth")
    assert load_start(model, read_weights(str(tmp_path / "TVTSv2.pth"))) == "tvtsv2"
    assert torch.equal(model.text.projection, source.text.projection)
    assert torch.equal(model.sorting.head.weight, head)


def test_our_own_file_is_read_back(tmp_path: Path) -> None:
    source, model = tiny_model(seed=1), tiny_model(seed=2)
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    assert load_start(model, read_weights(str(tmp_path / "model.safetensors"))) == "reelscript"
    assert torch.equal(model.sorting.head.weight, source.sorting.head.weight)


def test_missing_extra_and_misshapen_entries_are_named() -> None:
    entries = tvtsv2.export(tiny_model(), sorting_head=True)
    entries["text_projektion"] = entries.pop("text_projection")
    entries["video_model.proj"] = torch.zeros(3, 3)
    with pytest.raises(
        UserError,
        match=r"missing: text_projection; extra: text_projektion; misshapen: video_model.proj \(3, 3\) instead",
    ):
        tvtsv2.load(tiny_model(), entries, sorting_head=True)


def test_weights_in_an_unknown_layout_are_refused() -> None:
    with pytest.raises(UserError, match="no layout we know; their first names: conv"):
        load_start(tiny_model(), {"conv": torch.zeros(1)})


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("print('code ran')",))


def test_a_file_that_wants_to_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, write in (
        ("zip.pth", torch.save),
        ("plain.pth", lambda value, to: to.write_bytes(pickle.dumps(value))),
    ):
        write({"state_dict": _Hostile()}, tmp_path / name)
        with pytest.raises(UserError, match="is refused"):
            read_weights(str(tmp_path / name))
    assert "code ran" not in capsys.readouterr().out


def _wrong_key(path: Path) -> None:
    entries = tvtsv2.export(tiny_model(), sorting_head=False)
    entries["video_model.projj"] = entries.pop("video_model.proj")
    torch.save({"state_dict": entries}, path)


def _hostile(path: Path) -> None:
    torch.save({"state_dict": {}, "config": _Hostile()}, path)


def _cut_off(path: Path) -> None:
    save_file(tiny_model().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("name", "write", "sentence"),
    [
        ("a.pth", _wrong_key, r"missing: video_model\.proj; extra: video_model\.projj$"),
        ("a.pth", _hostile, "wants to call builtins.exec when it is read, so it is refused"),
        ("a.safetensors", _cut_off, "is cut off or not a safetensors file"),
        ("a.safetensors", lambda path: None, "not found"),
    ],
)
def test_start_weights_that_cannot_be_used_are_named_with_their_fault(
    tmp_path: Path, name: str, write: Callable[[Path], None], sentence: str
) -> None:
    write(tmp_path / name)
    recipe = replace(training(1), init=str(tmp_path / name))
    with pytest.raises(UserError, match=sentence) as refusal:
        build_learner(recipe, 0, torch.device("cpu"), None, None)
    assert str(refusal.value).startswith(str(tmp_path / name))
    assert "\n" not in str(refusal.value)


def test_a_temporal_attention_that_copies_the_spatial_one_copies_that_of_the_start_weights(
    tmp_path: Path,
) -> None:
    system = replace(SYSTEM, video=replace(SYSTEM.video, temporal_start="from_spatial"))
    entries = openclip.export(tiny_model(system, seed=9))
    save_file({name: value.contiguous() for name, value in entries.items()}, tmp_path / "clip.safetensors")
    recipe = replace(training(1), system=system, init=str(tmp_path / "clip.safetensors"))
    started = build_learner(recipe, 0, torch.device("cpu"), None, None).task.model.video.blocks[0]
    expected = entries["visual.transformer.resblocks.0.attn.in_proj_weight"]
    assert torch.equal(started.attn.qkv.weight, expected)
    assert torch.equal(started.timeattn.qkv.weight, expected)


def test_a_file_that_is_cut_off_or_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("a poem, not weights")
    with pytest.raises(UserError, match="not a torch file"):
        read_weights(str(tmp_path / "text.pth"))
    save_file({"x": torch.zeros(100)}, tmp_path / "a.safetensors")
    torch.save({"x": torch.zeros(100)}, tmp_path / "a.pth")
    for name in ("a.safetensors", "a.pth"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / f"cut_{name}").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match="cut off"):
            read_weights(str(tmp_path / f"cut_{name}"))


def test_a_file_and_a_folder_in_a_bucket_are_read_as_on_disk(tmp_path: Path, s3_server: S3Server) -> None:
    save_file({"x": torch.ones(2)}, tmp_path / "model.safetensors")
    torch.save({"state_dict": {"y": torch.ones(1)}, "config": Path("/a")}, tmp_path / "notes.pth")
    folder = s3_server.upload(tmp_path, "weights")
    for place in (str(tmp_path), folder, s3_server.uri("weights", "model.safetensors")):
        assert list(read_weights(place)) == ["x"]
    assert list(read_weights(s3_server.uri("weights", "notes.pth"))) == ["y"]
    with pytest.raises(UserError, match="s3://bucket/weights/none: not found"):
        read_weights(s3_server.uri("weights", "none"))
