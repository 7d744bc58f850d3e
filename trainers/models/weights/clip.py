"""Names of transformers' `CLIPModel` -> those of OpenAI's CLIP and open_clip."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from infra.errors import UserError
from trainers.models.weights import openclip
from trainers.models.weights.names import Rule, to_ours

LAYERS = (("text_model.encoder.layers", "transformer"), ("vision_model.encoder.layers", "visual.transformer"))
RULES = (
    Rule("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
    Rule("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    Rule("text_model.final_layer_norm.{*}", "ln_final.{*}"),
    Rule("text_projection.weight", "text_projection"),
    Rule("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    Rule("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
    Rule("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    Rule("vision_model.pre_layrnorm.{*}", "visual.ln_pre.{*}"),
    Rule("vision_model.post_layernorm.{*}", "visual.ln_post.{*}"),
    Rule("visual_projection.weight", "visual.proj"),
    Rule("logit_scale", "logit_scale"),
    *(
        Rule(f"{theirs}.{{i}}.{part}.{{*}}", f"{ours}.resblocks.{{i}}.{name}.{{*}}")
        for theirs, ours in LAYERS
        for part, name in (
            ("layer_norm1", "ln_1"),
            ("layer_norm2", "ln_2"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
            ("self_attn.out_proj", "attn.out_proj"),
            ("self_attn.qkv", "attn.in_proj"),
        )
    ),
)
TRANSPOSED = {"text_projection", "visual.proj"}
_QUERY_KEY_VALUE = re.compile(r"(.*\.self_attn)\.([qkv])_proj\.(weight|bias)")


def load(model: nn.Module, entries: Mapping[str, Tensor], what: str = "the CLIP checkpoint") -> None:
    """Copy the two towers of a `CLIPModel` state_dict into the model; UserError names what does not fit."""
    openclip.load(model, to_openclip(entries, what), what)


def to_openclip(entries: Mapping[str, Tensor], what: str = "the CLIP checkpoint") -> dict[str, Tensor]:
    """The same weights in CLIP's own layout: q, k, v joined, projections transposed."""
    joined = _join_query_key_value(entries, what)
    joined = {name: value for name, value in joined.items() if not name.endswith(".position_ids")}
    renamed = to_ours(joined, RULES)
    if unknown := sorted(joined.keys() - renamed.keys()):
        raise UserError(f"{what} does not fit this model; extra: {', '.join(unknown)}")
    weights = {renamed[name].replace("in_proj.", "in_proj_"): value for name, value in joined.items()}
    return {name: value.T if name in TRANSPOSED else value for name, value in weights.items()}


def _join_query_key_value(entries: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    joined = {name: value for name, value in entries.items() if not _QUERY_KEY_VALUE.fullmatch(name)}
    for module, kind in {(m[1], m[3]) for m in map(_QUERY_KEY_VALUE.fullmatch, entries) if m}:
        names = [f"{module}.{part}_proj.{kind}" for part in "qkv"]
        if missing := [name for name in names if name not in entries]:
            raise UserError(f"{what} does not fit this model; missing: {', '.join(missing)}")
        joined[f"{module}.qkv.{kind}"] = torch.cat([entries[name] for name in names])
    return joined
