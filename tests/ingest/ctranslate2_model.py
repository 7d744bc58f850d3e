"""A Whisper checkpoint in CTranslate2's format: the same weights, written by CTranslate2's own model specification."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ctranslate2.specs import common_spec
from ctranslate2.specs.whisper_spec import WhisperSpec
from torch import Tensor
from whisper.model import ModelDimensions
from whisper.tokenizer import get_tokenizer

State = Mapping[str, Tensor]


def convert(checkpoint: Path, folder: Path) -> Path:
    """Write an openai-whisper checkpoint as a folder that CTranslate2 loads."""
    saved = torch.load(checkpoint, weights_only=True)
    dims, state = ModelDimensions(**saved["dims"]), saved["model_state_dict"]
    spec = WhisperSpec(dims.n_audio_layer, dims.n_audio_head, dims.n_text_layer, dims.n_text_head)
    _encoder(spec.encoder, state)
    _decoder(spec.decoder, state)
    _vocabulary(spec, dims)
    heads = [
        (n, head)
        for n in range(dims.n_text_layer // 2, dims.n_text_layer)
        for head in range(dims.n_text_head)
    ]
    spec.config.alignment_heads = heads
    spec.config.suppress_ids_begin = [220, 50256 + int(dims.n_vocab >= 51865)]  # a blank, and the end of text
    spec.validate()
    folder.mkdir(parents=True)
    spec.save(str(folder))
    return folder


def _encoder(spec: Any, state: State) -> None:
    for name in ("conv1", "conv2"):
        _weights(getattr(spec, name), state, f"encoder.{name}")
    spec.position_encodings.encodings = state["encoder.positional_embedding"].numpy()
    _norm(spec.layer_norm, state, "encoder.ln_post")
    for number, layer in enumerate(spec.layer):
        _self_attention(layer.self_attention, state, f"encoder.blocks.{number}.attn")
        _mlp(layer.ffn, state, f"encoder.blocks.{number}.mlp")


def _decoder(spec: Any, state: State) -> None:
    spec.embeddings.weight = state["decoder.token_embedding.weight"].numpy()
    spec.projection.weight = spec.embeddings.weight
    spec.position_encodings.encodings = state["decoder.positional_embedding"].numpy()
    _norm(spec.layer_norm, state, "decoder.ln")
    for number, layer in enumerate(spec.layer):
        block = f"decoder.blocks.{number}"
        _self_attention(layer.self_attention, state, f"{block}.attn")
        _norm(layer.attention.layer_norm, state, f"{block}.cross_attn_ln")
        _fused(layer.attention.linear[0], state, f"{block}.cross_attn", "query")
        _fused(layer.attention.linear[1], state, f"{block}.cross_attn", "key", "value")
        _fused(layer.attention.linear[2], state, f"{block}.cross_attn", "out")
        _mlp(layer.ffn, state, f"{block}.mlp")


def _self_attention(spec: Any, state: State, name: str) -> None:
    _norm(spec.layer_norm, state, f"{name}_ln")
    _fused(spec.linear[0], state, name, "query", "key", "value")
    _fused(spec.linear[1], state, name, "out")


def _fused(spec: common_spec.LinearSpec, state: State, name: str, *parts: str) -> None:
    weights = [state[f"{name}.{part}.weight"] for part in parts]
    biases = [
        state.get(f"{name}.{part}.bias", torch.zeros(len(weights[0]))) for part in parts
    ]  # keys have none
    spec.weight, spec.bias = torch.cat(weights).numpy(), torch.cat(biases).numpy()


def _mlp(spec: Any, state: State, name: str) -> None:
    _norm(spec.layer_norm, state, f"{name}_ln")
    _weights(spec.linear_0, state, f"{name}.0")
    _weights(spec.linear_1, state, f"{name}.2")


def _norm(spec: Any, state: State, name: str) -> None:
    spec.gamma, spec.beta = state[f"{name}.weight"].numpy(), state[f"{name}.bias"].numpy()


def _weights(spec: Any, state: State, name: str) -> None:
    spec.weight, spec.bias = state[f"{name}.weight"].numpy(), state[f"{name}.bias"].numpy()


def _vocabulary(spec: WhisperSpec, dims: ModelDimensions) -> None:
    """Only the special tokens need their names."""
    multilingual = dims.n_vocab >= 51865
    tokenizer = get_tokenizer(multilingual, num_languages=dims.n_vocab - 51765 - int(multilingual))
    names = [f"token {number}" for number in range(dims.n_vocab)]
    for name, number in tokenizer.special_tokens.items():
        names[number] = name
    spec.register_vocabulary(names)
    spec.config.lang_ids = list(tokenizer.all_language_tokens)
