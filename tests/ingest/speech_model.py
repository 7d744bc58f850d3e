"""A whisper checkpoint with random weights, in openai-whisper's own format: for the plumbing, not for words."""

from dataclasses import asdict
from pathlib import Path

import torch
from whisper.model import ModelDimensions, Whisper


def write_random_whisper(path: Path, seed: int = 0, multilingual: bool = False) -> Path:
    """One encoder and one decoder layer, width 16, the English vocabulary or that of 99 languages."""
    dims = ModelDimensions(
        n_mels=80,
        n_audio_ctx=1500,
        n_audio_state=16,
        n_audio_head=2,
        n_audio_layer=1,
        n_vocab=51865 if multilingual else 51864,
        n_text_ctx=64,
        n_text_state=16,
        n_text_head=2,
        n_text_layer=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Whisper(dims)
        for name, parameter in model.named_parameters():
            if not name.endswith("ln.weight"):
                torch.nn.init.normal_(parameter, std=0.5)
    torch.save({"dims": asdict(dims), "model_state_dict": model.state_dict()}, path)
    return path
