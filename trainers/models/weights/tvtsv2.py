"""TVTSv2's own parameter names (TVTSv2, section 15) <-> ours."""

from collections.abc import Mapping

from torch import Tensor, nn

from trainers.models.weights.names import Rule, copy_in, export_as

RULES = (
    Rule("text_positional_embedding", "text.positional_embedding"),
    Rule("text_projection", "text.projection"),
    Rule("text_token_embedding.weight", "text.token_embedding.weight"),
    Rule("text_ln_final.{*}", "text.ln_final.{*}"),
    Rule("text_model.resblocks.{i}.attn.in_proj_weight", "text.blocks.{i}.attn.qkv.weight"),
    Rule("text_model.resblocks.{i}.attn.in_proj_bias", "text.blocks.{i}.attn.qkv.bias"),
    Rule("text_model.resblocks.{i}.attn.out_proj.{*}", "text.blocks.{i}.attn.proj.{*}"),
    Rule("text_model.resblocks.{i}.{*}", "text.blocks.{i}.{*}"),
    Rule("video_model.conv1.weight", "video.patch_embedding.weight"),
    Rule("video_model.proj", "video.projection"),
    Rule("video_model.transformer.resblocks.{i}.{*}", "video.blocks.{i}.{*}"),
    Rule("video_model.{*}", "video.{*}"),
    Rule("pred_model.type_embed", "sorting.type_embedding"),
    Rule("pred_model.blocks.{i}.norm1.{*}", "sorting.blocks.{i}.ln_1.{*}"),
    Rule("pred_model.blocks.{i}.norm2.{*}", "sorting.blocks.{i}.ln_2.{*}"),
    Rule("pred_model.blocks.{i}.mlp.fc1.{*}", "sorting.blocks.{i}.mlp.c_fc.{*}"),
    Rule("pred_model.blocks.{i}.mlp.fc2.{*}", "sorting.blocks.{i}.mlp.c_proj.{*}"),
    Rule("pred_model.{*}", "sorting.{*}"),
)


def load(
    model: nn.Module,
    entries: Mapping[str, Tensor],
    *,
    sorting_head: bool,
    what: str = "the TVTSv2 checkpoint",
) -> None:
    """Copy a TVTSv2 state_dict into the model; `module.` in front of every name is dropped.

    `sorting_head`: whether the entries hold one (training checkpoints do, released files do not); without one
    the model's own is kept. UserError names what is missing, extra or misshapen.
    """
    entries = {name.removeprefix("module."): tensor for name, tensor in entries.items()}
    copy_in(_parameters(model, sorting_head), entries, RULES, what)


def export(model: nn.Module, *, sorting_head: bool) -> dict[str, Tensor]:
    """The model's parameters under TVTSv2's names; without the sorting head as in the released files."""
    return export_as(_parameters(model, sorting_head), RULES)


def _parameters(model: nn.Module, sorting_head: bool) -> dict[str, Tensor]:
    named = model.named_parameters()
    return {name: value for name, value in named if sorting_head or not name.startswith("sorting.")}
