"""The demo's speech model at rest: a file under 3 MB beside this module, and back into a Whisper checkpoint.

The file holds float16 weights; of the tied token embedding only the rows in use (all others are zero), and
nothing that Whisper computes itself. `write_checkpoint` writes what `whisper.load_model(path)` loads.
"""

import lzma
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor
from whisper.model import ModelDimensions, sinusoids

PACKED_MODEL = Path(__file__).parent / "speech_model.bin"
DIMENSIONS = ModelDimensions(
    n_mels=80,
    n_audio_ctx=1500,
    n_audio_state=128,
    n_audio_head=2,
    n_audio_layer=2,
    n_vocab=51864,  # the English vocabulary: with one token more Whisper would expect many languages
    n_text_ctx=448,
    n_text_state=128,
    n_text_head=4,
    n_text_layer=2,
)
_EMBEDDING = "decoder.token_embedding.weight"
_SINUSOIDS = "encoder.positional_embedding"
_TOKENS = "used_tokens"


def write_checkpoint(checkpoint: Path, packed: Path = PACKED_MODEL) -> None:
    """Write the shipped model as a Whisper checkpoint."""
    torch.save({"dims": asdict(DIMENSIONS), "model_state_dict": unpack(packed)}, checkpoint)


def pack(state: Mapping[str, Tensor], used_tokens: Tensor, packed: Path) -> None:
    """Write a Whisper state dict, all of whose embedding rows outside `used_tokens` are zero.

    The file is replaced at once, so that a reader never sees half of it.
    """
    kept = {name: value.half() for name, value in state.items() if name not in (_EMBEDDING, _SINUSOIDS)}
    kept[_EMBEDDING] = state[_EMBEDDING][used_tokens].half()
    kept[_TOKENS] = used_tokens.to(torch.int32)
    partial = packed.with_name(packed.name + ".partial")
    partial.write_bytes(lzma.compress(safetensors.torch.save(kept)))
    partial.replace(packed)


def unpack(packed: Path) -> dict[str, Tensor]:
    """The float32 state dict of `whisper.model.Whisper`."""
    kept = safetensors.torch.load(lzma.decompress(packed.read_bytes()))
    used_tokens = kept.pop(_TOKENS).long()
    state = {name: value.float() for name, value in kept.items()}
    table = torch.zeros(DIMENSIONS.n_vocab, DIMENSIONS.n_text_state)
    table[used_tokens] = state[_EMBEDDING]
    state[_EMBEDDING] = table
    state[_SINUSOIDS] = sinusoids(DIMENSIONS.n_audio_ctx, DIMENSIONS.n_audio_state)
    return state
