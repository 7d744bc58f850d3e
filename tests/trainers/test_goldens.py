"""Agreement with the recorded reference: models, losses, gradients, optimiser, pixels, tokens, metrics.

Every entry of a set is read: a case, input, config value or data entry that no test knows fails here. The
ingest cases (INGEST_DATA) are read in tests/ingest/test_goldens.py.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainers import computed
from tests.trainers.recorded import Family, RecordedSet, set_names
from trainers.data.inputs import to_input
from trainers.data.pixels import centre, cut, room
from trainers.data.tokenizers import ClipTokenizer
from trainers.evaluation.metrics import rank_metrics, t2v_ranks, v2t_ranks
from trainers.loop.freezing import named_parameters
from trainers.loop.optimizers import build_optimizer
from trainers.recipe import Pixels
from trainers.systems.tvtsv2.rows import num_kept

# the sidecar's tolerance, in prose there
ACTIVATIONS = 5e-5
LOGITS_X100 = 5e-4
GRADIENT_NORMS = 1e-4
CHANGE_NORMS = 1e-3
SMALL_VARIANCE = 1e-4
ZERO_GRADIENTS = 1e-4

INGEST_DATA = {"frame_sampling", "transcripts"}
OWN_DATA = {"test_transform", "kept_patches", "retrieval_metrics", "tokenizer"}
CASES = {"sort", "caption", "eval", "image", "short", "eps", "zero_shot", "mc", "dist2", "optim"}
INPUTS = {
    *("video", "sort_text", "caption_text", "sort_keep_ind", "caption_keep_ind"),
    *("sort_label", "class_text", "mc_text"),
}
PROSE = {"title", "source", "key_layout", "inputs", "cases", "tolerance", "data_notes"}
FAMILY_PARTS = {
    *("config", "optimiser", "param_groups", "grad_norms_sort", "grad_norms_dist2", "optim_delta_norms"),
}
CONFIG = {
    *(
        "variant",
        "image_size",
        "patch_size",
        "patches_per_frame",
        "num_frames",
        "mask_ratio",
        "kept_per_frame",
    ),
    *("video_width", "video_layers", "video_heads", "mlp_ratio", "embed_dim", "text_width", "text_layers"),
    *("text_heads", "context_length", "vocab_size", "start_token", "end_token", "pad_token", "sort_depth"),
    *(
        "sort_heads",
        "sort_mlp_ratio",
        "num_transcripts",
        "layer_norm_eps",
        "sort_layer_norm_eps",
        "activation",
    ),
    *("sort_activation", "temperature", "sort_loss_weight", "batch", "frozen_text_layers", "dropout"),
}
OPTIMISER = {
    *("kind", "betas", "eps", "weight_decay", "lr_new", "lr_clip", "schedule", "steps", "note"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    folder = Path(metafunc.config.getoption("--goldens"))
    names = set_names(folder)
    if "case" in metafunc.fixturenames:
        metafunc.parametrize(
            ("recorded", "family", "case"),
            [
                pytest.param(name, family, case, id=f"golden-{name}-{family}-{case}")
                for name in names
                for family in _load(folder, name).families()
                for case in sorted(_load(folder, name).family(family).outputs)
            ],
            indirect=("recorded", "family"),
        )
    elif "family" in metafunc.fixturenames:
        metafunc.parametrize(
            ("recorded", "family"),
            [
                pytest.param(name, family, id=f"golden-{name}-{family}")
                for name in names
                for family in _load(folder, name).families()
            ],
            indirect=True,
        )
    elif "recorded" in metafunc.fixturenames:
        metafunc.parametrize(
            "recorded", [pytest.param(name, id=f"golden-{name}") for name in names], indirect=True
        )


@cache
def _load(folder: Path, name: str) -> RecordedSet:
    return RecordedSet.load(folder, name)


@cache
def _two_ranks(folder: Path, name: str) -> dict[str, dict[str, Tensor]]:
    recorded = _load(folder, name)
    return computed.two_ranks([recorded.family(family) for family in recorded.families()])


@cache
def _sort(folder: Path, name: str, family: str) -> dict[str, Tensor]:
    return computed.sort_case(_load(folder, name).family(family))


@cache
def _optim(folder: Path, name: str, family: str) -> dict[str, Tensor]:
    return computed.optim_case(_load(folder, name).family(family))


@pytest.fixture
def recorded(request: pytest.FixtureRequest, goldens: Path) -> RecordedSet:
    return _load(goldens, request.param)


@pytest.fixture
def family(request: pytest.FixtureRequest, recorded: RecordedSet) -> Family:
    return recorded.family(request.param)


def _compute(case: str, folder: Path, recorded: RecordedSet, family: Family) -> dict[str, Tensor]:
    clips = len(family.outputs["eval"]["video_embed"])
    ways: dict[str, Callable[[], dict[str, Tensor]]] = {
        "sort": lambda: _sort(folder, recorded.name, family.name),
        "caption": lambda: computed.caption_case(family),
        "eval": lambda: computed.whole_video(family, clips),
        "image": lambda: computed.whole_video(family, clips, 1),
        "short": lambda: computed.whole_video(family, clips, 2),
        "eps": lambda: computed.sort_case(family, recorded.sidecar["eps_scales"]),
        "zero_shot": lambda: computed.zero_shot_case(family, clips),
        "mc": lambda: computed.mc_case(family, clips),
        "dist2": lambda: _two_ranks(folder, recorded.name)[family.name],
        "optim": lambda: _optim(folder, recorded.name, family.name),
    }
    return ways[case]()


def _allowed(case: str, name: str, expected: Tensor) -> float:
    """Largest absolute difference."""
    if case == "eps":
        return SMALL_VARIANCE * float(expected.abs().max())
    if name == "logits":
        return LOGITS_X100
    if name.startswith("grad/"):
        return max(ZERO_GRADIENTS, GRADIENT_NORMS * float(expected.abs().max()))
    return ACTIVATIONS


def test_every_tensor_of_a_case_equals_the_recorded_one(
    case: str,
    family: Family,
    recorded: RecordedSet,
    goldens: Path,
    record_property: Callable[[str, object], None],
) -> None:
    ours = _compute(case, goldens, recorded, family)
    for name, expected in family.outputs[case].items():
        value = ours[name].detach().cpu().reshape(-1, *expected.shape[1:])[: len(expected)]
        assert value.shape == expected.shape, name
        difference = float((value - expected).abs().max())
        record_property(name, difference)
        assert difference <= _allowed(case, name, expected), f"{case}/{name} differs by {difference:.2e}"


def test_gradient_norms_equal_the_recorded_ones_and_null_means_no_gradient(
    family: Family, recorded: RecordedSet, goldens: Path
) -> None:
    computed_here = {
        "grad_norms_sort": _sort(goldens, recorded.name, family.name),
        "grad_norms_dist2": _two_ranks(goldens, recorded.name)[family.name],
    }
    for part, outputs in computed_here.items():
        norms = family.sidecar[part]
        ours = {name[5:]: float(value.norm()) for name, value in outputs.items() if name.startswith("grad/")}
        assert ours.keys() == {name for name, norm in norms.items() if norm is not None}
        for name, norm in ours.items():
            assert norm == pytest.approx(norms[name], rel=GRADIENT_NORMS, abs=1e-6), name


def test_four_optimiser_steps_change_every_parameter_by_the_recorded_norm(
    family: Family, recorded: RecordedSet, goldens: Path
) -> None:
    final = _optim(goldens, recorded.name, family.name)
    norms = family.sidecar["optim_delta_norms"]
    assert norms.keys() == family.params.keys()
    for name, norm in norms.items():
        change = (final[f"final/{name}"].cpu() - family.params[name]).double().norm()
        assert float(change) == pytest.approx(norm, rel=CHANGE_NORMS, abs=1e-9), name


def test_parameter_groups_hold_the_recorded_names(family: Family) -> None:
    task = family.task()
    names = {id(parameter): computed.theirs(name) for name, parameter in task.model.named_parameters()}
    optimizer = build_optimizer(named_parameters(task.model), computed.optimiser_config(family))
    ours = {
        group["name"].replace("rest", "clip"): {names[id(parameter)] for parameter in group["params"]}
        for group in optimizer.param_groups
    }
    ours["frozen"] = {names[id(p)] for p in task.model.parameters() if not p.requires_grad}
    assert ours == {group: set(members) for group, members in family.sidecar["param_groups"].items()}


def test_inputs_are_what_the_config_says(family: Family) -> None:
    c, inputs = family.config, family.inputs
    assert inputs.keys() == INPUTS
    assert c["patches_per_frame"] == (c["image_size"] // c["patch_size"]) ** 2
    assert c["kept_per_frame"] == num_kept(c["patches_per_frame"], c["mask_ratio"])
    assert (
        inputs["sort_keep_ind"].shape == inputs["caption_keep_ind"].shape == (c["batch"], c["kept_per_frame"])
    )
    assert inputs["video"].shape[:2] == (c["batch"], c["num_frames"])
    assert torch.equal(inputs["sort_label"], torch.arange(c["num_transcripts"]).expand(c["batch"], -1))
    for name in ("sort_text", "caption_text", "class_text", "mc_text"):
        for row in inputs[name]:
            end = int(row.argmax())
            assert (row[0], row[end]) == (c["start_token"], c["end_token"])
            assert torch.all(row[end + 1 :] == c["pad_token"])


def test_pixels_equal_the_recorded_ones(recorded: RecordedSet) -> None:
    found = recorded.below("data/transform/")
    cases = recorded.sidecar["data"]["test_transform"]
    assert found.keys() == {f"{case['index']}/{end}" for case in cases for end in ("in", "out")}
    for case in cases:
        frames = found[f"{case['index']}/in"].permute(0, 2, 3, 1).numpy()
        config = Pixels(short_side=case["resize_short_side"], crop=case["crop_size"])
        assert frames.shape[1:3] == (case["height"], case["width"])
        corner = centre(room(case["height"], case["width"], config))
        windows = torch.from_numpy(np.stack([cut(frame, corner, config) for frame in frames]))
        difference = (
            (to_input(windows[None], config.crop, config)[0] - found[f"{case['index']}/out"]).abs().max()
        )
        assert difference <= 1e-6, case


def test_kept_patches_equal_the_recorded_counts(recorded: RecordedSet) -> None:
    for case in recorded.sidecar["data"]["kept_patches"]:
        assert num_kept(case["patches"], case["mask_ratio"]) == case["kept"], case


def test_tokens_equal_the_recorded_ones(recorded: RecordedSet) -> None:
    for case in recorded.sidecar["data"]["tokenizer"]:
        row = ClipTokenizer(case["length"])([case["text"]])[0].tolist()
        assert row == case["ids"] + [0] * (case["length"] - len(case["ids"])), case["text"]


def test_retrieval_metrics_equal_the_recorded_ones(recorded: RecordedSet) -> None:
    similarities = recorded.below("data/metrics/")
    cases = recorded.sidecar["data"]["retrieval_metrics"]
    assert cases.keys() == similarities.keys()
    for name, expected in cases.items():
        ours = {
            "t2v_metrics": rank_metrics(t2v_ranks(similarities[name])),
            "v2t_metrics": rank_metrics(v2t_ranks(similarities[name])),
        }
        assert ours.keys() == expected.keys()
        for direction, metrics in expected.items():
            assert ours[direction] == pytest.approx(metrics, abs=1e-9), f"{name}/{direction}"


def test_no_entry_is_left_unread(recorded: RecordedSet) -> None:
    sidecar = recorded.sidecar
    assert sidecar.keys() == PROSE | {"eps_scales", "families", "data"}
    assert sidecar["data"].keys() == OWN_DATA | INGEST_DATA
    assert sidecar["cases"].keys() == CASES
    assert {name for names in sidecar["inputs"] for name in names.split(" / ")} == INPUTS
    for name in recorded.families():
        assert sidecar["families"][name].keys() == FAMILY_PARTS
        assert recorded.family(name).outputs.keys() == CASES
        assert sidecar["families"][name]["config"].keys() == CONFIG
        assert sidecar["families"][name]["optimiser"].keys() == OPTIMISER
    read = tuple(f"{name}/{part}/" for name in recorded.families() for part in ("param", "in", "out"))
    left = [
        key for key in recorded.tensors if not key.startswith((*read, "data/transform/", "data/metrics/"))
    ]
    assert not left
