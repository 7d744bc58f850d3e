"""Start weights by hub id: from the hub over HTTP, from its cache without it, and what is said when neither has them.

There is no network here: the hub is a local server that answers as the real one does, and the cache is in its layout.
"""

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import save_file

from infra.errors import UserError
from pipeline.recipes.tvtsv2 import tvtsv2_tiny
from pipeline.workspace import located
from tests.trainers.models.weights.hub_server import SHA, serving
from trainers.models.weights.files import read_weights
from trainers.models.weights.hub import is_hub_id

X, Y = {"x": torch.arange(3.0)}, {"y": torch.ones(2)}

NOBODY = "http://127.0.0.1:9"


def point_to(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT does when the library is imported."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub that nothing answers for."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    point_to(NOBODY, monkeypatch)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, list[str]]]:
    """The folder of repositories of a hub, and what it was asked for."""
    root = tmp_path / "hub"
    root.mkdir()
    with serving(root) as (endpoint, asked):
        point_to(endpoint, monkeypatch)
        yield root, asked


def repository(folder: Path, *names: str) -> Path:
    """A repository with these files: safetensors hold x, torch files y."""
    folder.mkdir(parents=True)
    for name in names:
        if name.endswith(".safetensors"):
            save_file(X, folder / name)
        elif name.endswith((".bin", ".pth")):
            torch.save(Y, folder / name)
        else:
            (folder / name).write_text("{}")
    return folder


def cached(cache: Path, *names: str) -> None:
    """The same in the layout of the hub's cache, as a download of `main` leaves it."""
    home = cache / "models--owner--name"
    repository(home / "snapshots" / SHA, *names)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(SHA)


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("config.json", "model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin"), "x"),
        (("open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin"), "x"),
        (("config.json", "pytorch_model.bin", "training_args.bin"), "y"),
        (("open_clip_pytorch_model.bin",), "y"),
        (("README.md", "TVTSv2_ViT_B_32.pth"), "y"),
    ],
)
def test_the_hubs_file_of_weights_is_found_by_its_name(
    hub: tuple[Path, list[str]], names: tuple[str, ...], taken: str
) -> None:
    repository(hub[0] / "owner" / "name", *names)
    assert list(read_weights("owner/name")) == [taken]


def test_what_was_downloaded_once_is_read_from_the_cache_when_the_hub_is_gone(
    hub: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(hub[0] / "owner" / "name", "model.safetensors", "pytorch_model.bin")
    first = read_weights("owner/name")
    assert not any("pytorch_model.bin" in request for request in hub[1])
    point_to(NOBODY, monkeypatch)
    assert torch.equal(read_weights("owner/name")["x"], first["x"])


def test_a_revision_is_asked_for_and_a_wrong_one_is_named(hub: tuple[Path, list[str]]) -> None:
    repository(hub[0] / "owner" / "name", "model.safetensors")
    read_weights("owner/name@v1")
    assert "GET owner/name/resolve/v1/model.safetensors" in hub[1]
    with pytest.raises(UserError, match="no revision 'v2'"):
        read_weights("owner/name@v2")


def test_weights_in_parts_are_read_together(hub: tuple[Path, list[str]]) -> None:
    folder = repository(hub[0] / "owner" / "name", "model.safetensors.index.json")
    save_file(X, folder / "model-00001-of-00002.safetensors")
    save_file(Y, folder / "model-00002-of-00002.safetensors")
    assert read_weights("owner/name").keys() == {"x", "y"}


def test_an_unknown_repository_and_one_without_weights_are_named(hub: tuple[Path, list[str]]) -> None:
    with pytest.raises(UserError, match="owner/nome is no file here and no repository on http"):
        read_weights("owner/nome")
    repository(hub[0] / "owner" / "name", "README.md")
    with pytest.raises(UserError, match="owner/name holds no weights"):
        read_weights("owner/name")
    repository(hub[0] / "owner" / "zoo", "a.pth", "b.pth")
    with pytest.raises(UserError, match=r"several files of weights, a\.pth, b\.pth"):
        read_weights("owner/zoo")


@pytest.mark.parametrize("offline", [True, False])
def test_a_filled_cache_is_enough_without_a_hub(
    cache: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    cached(cache, "config.json", "model.safetensors", "pytorch_model.bin")
    for place in ("owner/name", "owner/name@main", f"owner/name@{SHA}"):
        assert list(read_weights(place)) == ["x"]


def test_a_hub_that_cannot_be_reached_is_said_in_one_sentence(cache: Path) -> None:
    with pytest.raises(UserError, match=r"127\.0\.0\.1:9 cannot be reached .* does not hold it") as refusal:
        read_weights("owner/name")
    assert str(cache) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_hub_id_stays_one_and_a_path_becomes_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "old").mkdir(parents=True)
    assert init_of("openai/clip-vit-base-patch32") == "openai/clip-vit-base-patch32"
    assert init_of("laion/CLIP-ViT-H-14@v1.0") == "laion/CLIP-ViT-H-14@v1.0"
    assert init_of("runs/old") == str(tmp_path / "runs" / "old")
    assert init_of("runs/w.safetensors") == str(tmp_path / "runs" / "w.safetensors")
    assert init_of("s3://bucket/w.pth") == "s3://bucket/w.pth"
    assert not any(is_hub_id(place) for place in ("w.pth", "a/b/c", "/a/b", "../a", "s3://a/b", "~/a"))


def init_of(init: str) -> str | None:
    """The start weights of a recipe as its workers get them."""
    recipe = tvtsv2_tiny()
    training = recipe.training.__class__(**{**vars(recipe.training), "init": init})
    return located(recipe.__class__(**{**vars(recipe), "training": training})).training.init
