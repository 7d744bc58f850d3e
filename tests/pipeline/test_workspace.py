"""Recipes to sources on this machine."""

from typing import get_args, get_type_hints

import pytest

from ingest.sources.folder import Folder
from ingest.sources.webvid import WebVid
from pipeline.recipe import DataSource
from pipeline.workspace import open_source


@pytest.mark.parametrize("layout", get_args(get_type_hints(DataSource)["layout"]))
def test_every_layout_of_a_recipe_has_its_source(layout: str) -> None:
    source = open_source(DataSource(layout, "clips", "archive"), "s3://bucket/raw")  # type: ignore[arg-type]
    assert source.stream == "clips"
    assert layout.startswith(source.name)


def test_a_list_left_out_is_the_layouts_own_and_a_folder_keeps_its_place_in_the_key() -> None:
    webvid = open_source(DataSource("webvid", "a", "webvid"), "/raw")
    assert webvid == WebVid("/raw/webvid", "results_train.csv", "a")
    folder = open_source(DataSource("folder", "a", "films", narrated=True), "/raw")
    assert folder == Folder("/raw", "films", "a", narrated=True)
    assert folder.narrated
