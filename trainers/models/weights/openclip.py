"""Names of OpenAI's CLIP and of open_clip (they share one layout) <-> ours."""

from collections.abc import Mapping

from torch import Tensor, nn

from trainers.models.weights.names import Rule, copy_in, export_as

RULES = (
    Rule("positional_embedding", "text.positional_embedding"),
    Rule("text_projection", "text.projection"),
    Rule("token_embedding.weight", "text.token_embedding.weight"),
    Rule("ln_final.{*}", "text.ln_final.{*}"),
    Rule("transformer.resblocks.{i}.attn.in_proj_weight", "text.blocks.{i}.attn.qkv.weight"),
    Rule("transformer.resblocks.{i}.attn.in_proj_bias", "text.blocks.{i}.attn.qkv.bias"),
    Rule("transformer.resblocks.{i}.attn.out_proj.{*}", "text.blocks.{i}.attn.proj.{*}"),
    Rule("transformer.resblocks.{i}.{*}", "text.blocks.{i}.{*}"),
    Rule("visual.conv1.weight", "video.patch_embedding.weight"),
    Rule("visual.proj", "video.projection"),
    Rule("visual.transformer.resblocks.{i}.attn.in_proj_weight", "video.blocks.{i}.attn.qkv.weight"),
    Rule("visual.transformer.resblocks.{i}.attn.in_proj_bias", "video.blocks.{i}.attn.qkv.bias"),
    Rule("visual.transformer.resblocks.{i}.attn.out_proj.{*}", "video.blocks.{i}.attn.proj.{*}"),
    Rule("visual.transformer.resblocks.{i}.{*}", "video.blocks.{i}.{*}"),
    Rule("visual.{*}", "video.{*}"),
)
NOT_WEIGHTS_OF_OURS = {"logit_scale", "attn_mask", "input_resolution", "context_length", "vocab_size"}
"""The temperature is fixed here; the others are constants that some files carry along."""


def load(model: nn.Module, entries: Mapping[str, Tensor], what: str = "the CLIP checkpoint") -> None:
    """Copy CLIP's two towers into the model (TVTSv2, 3.6); what CLIP does not have keeps its start.

    UserError names what is missing, extra or misshapen.
    """
    weights = {name: value for name, value in entries.items() if name not in NOT_WEIGHTS_OF_OURS}
    copy_in(_covered(model), weights, RULES, what)


def export(model: nn.Module) -> dict[str, Tensor]:
    """What CLIP has of the model, under CLIP's names."""
    return export_as(_covered(model), RULES)


def covers(name: str) -> bool:
    """Whether CLIP has a parameter of ours."""
    return not any(part in name for part in ("temporal_embedding", "timeattn.", "ln_3.", "sorting."))


def _covered(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.named_parameters() if covers(name)}
