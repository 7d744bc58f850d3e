"""What our code computes for the cases of a recorded set, under the recorded names."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from tests.trainers.ranks import in_two_ranks
from tests.trainers.recorded import CAPTIONED, NARRATED, Family, rate_drop
from trainers.data.batch import Batch
from trainers.loop.freezing import named_parameters
from trainers.loop.optimizers import build_optimizer
from trainers.loop.parts import means_of
from trainers.loop.task import Task
from trainers.models.video_text import Encoded
from trainers.models.weights.names import to_theirs
from trainers.models.weights.tvtsv2 import RULES
from trainers.objectives.contrastive import unit
from trainers.recipe import Optimizer, Rate
from trainers.systems.tvtsv2.settings import NEW, UNDECAYED


def theirs(name: str) -> str:
    """Our parameter's name in the reference."""
    return to_theirs([name], RULES)[name]


def losses(
    task: Task, family: Family, kind: str, batch: Batch | None = None, video: Tensor | None = None
) -> dict[str, Tensor]:
    """loss_nce, and on a "sort" batch loss_sort_x2 and loss_total."""
    stream = NARRATED if kind == "sort" else CAPTIONED
    named = means_of(task(stream, batch or family.batch(kind), family.video() if video is None else video))
    if kind == "caption":
        return {"loss_nce": named["contrastive"]}
    sorting = family.config["sort_loss_weight"] * named["sorting"]
    return {
        "loss_nce": named["contrastive"],
        "loss_sort_x2": sorting,
        "loss_total": named["contrastive"] + sorting,
    }


def encoded_outputs(task: Task, family: Family, kind: str) -> tuple[Encoded, dict[str, Tensor]]:
    """The embeddings of a batch, their similarity, and everything that passes between modules on the way."""
    inside: dict[str, Tensor] = {}
    batch = family.batch(kind)
    with ExitStack() as hooks:
        _listen(task.model, inside, hooks)
        encoded = task.model.encode(family.video(), batch.inputs.tokens, batch.inputs.keep)
    rows = batch.inputs.tokens.transpose(0, 1).flatten(0, 1)
    inside |= _blocks("text", task.model.text.embed(rows), task.model.text.blocks)
    if kind == "sort":
        inside["sort_logits"] = task.model.sort(encoded.video, encoded.texts)
        joined = task.model.sorting.embed(encoded.video.sequence, encoded.texts)
        inside |= _blocks("sort", joined, task.model.sorting.blocks)
    text = encoded.texts.mean(dim=1)
    outputs = {
        "video_tokens": encoded.video.sequence,
        "video_embed": encoded.video.pooled,
        "text_features": encoded.texts.transpose(0, 1).flatten(0, 1),
        "text_embed": text,
        "sim": unit(encoded.video.pooled) @ unit(text).T,
    }
    return encoded, {**inside, **outputs}


def _blocks(tower: str, x: Tensor, blocks: nn.ModuleList) -> dict[str, Tensor]:
    """All rows of every block; the model itself computes only the rows of the last block that are read."""
    outputs = {}
    for i, block in enumerate(blocks):
        x = outputs[f"{tower}_block_{i}"] = block(x)
    return outputs


def _listen(model: nn.Module, inside: dict[str, Tensor], hooks: ExitStack) -> None:
    def keep(name: str) -> Any:
        return lambda module, args, output: inside.__setitem__(name, output)

    def keep_input(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        inside["video_embedded"] = args[0]

    listened: list[tuple[nn.Module, str]] = [(model.video.ln_pre, "video_ln_pre")]
    for i, block in enumerate(model.video.blocks):
        listened += [(block, f"video_block_{i}")]
        listened += [(block.attn, f"video_block_{i}_attn"), (block.timeattn, f"video_block_{i}_timeattn")]
    handles = [module.register_forward_hook(keep(name)) for module, name in listened]
    for handle in [*handles, model.video.ln_pre.register_forward_pre_hook(keep_input)]:
        hooks.callback(handle.remove)


def sort_case(family: Family, scales: dict[str, float] | None = None) -> dict[str, Tensor]:
    """The training forward and backward on the narrated batch."""
    task = family.task(scales)
    _, outputs = encoded_outputs(task, family, "sort")
    named = losses(task, family, "sort")
    named["loss_total"].backward()
    return {**outputs, **named, **gradients(task)}


def gradients(task: Task) -> dict[str, Tensor]:
    """grad/<reference name> of every parameter that has a gradient."""
    return {
        f"grad/{theirs(name)}": parameter.grad
        for name, parameter in task.model.named_parameters()
        if parameter.grad is not None
    }


def caption_case(family: Family) -> dict[str, Tensor]:
    """The forward on the captioned batch."""
    task = family.task()
    _, outputs = encoded_outputs(task, family, "caption")
    return {**outputs, **losses(task, family, "caption")}


def whole_video(family: Family, clips: int, frames: int | None = None) -> dict[str, Tensor]:
    """The first clips (their first frames) without a mask."""
    tokens = family.task().model.encode_video(family.video()[:clips, :frames])
    return {"video_embed": tokens.pooled, "video_tokens": tokens.sequence}


def zero_shot_case(family: Family, clips: int) -> dict[str, Tensor]:
    """100 x cosine with every class prompt."""
    model = family.task().model
    classes = unit(model.encode_text(family.inputs["class_text"].to(family.video().device)))
    return {"logits": 100 * unit(model.encode_video(family.video()[:clips]).pooled) @ classes.T}


def mc_case(family: Family, clips: int) -> dict[str, Tensor]:
    """100 x cosine of each clip with its own options, which are recorded option-major."""
    model = family.task().model
    options = unit(model.encode_text(family.inputs["mc_text"].to(family.video().device))).unflatten(
        0, (-1, clips)
    )
    videos = unit(model.encode_video(family.video()[:clips]).pooled)
    return {"logits": 100 * (videos * options).sum(dim=-1).T}


def optimiser_config(family: Family) -> Optimizer:
    """The recorded optimiser as a recipe's."""
    recorded = family.sidecar["optimiser"]
    assert recorded["kind"].startswith(
        "AdamW, bias-corrected, eps added to sqrt of the uncorrected second moment"
    )
    return Optimizer(
        rates={"new": Rate(float(recorded["lr_new"]), NEW), "rest": Rate(float(recorded["lr_clip"]))},
        undecayed=UNDECAYED,
        weight_decay=float(recorded["weight_decay"]),
        betas=(float(recorded["betas"][0]), float(recorded["betas"][1])),
        eps=float(recorded["eps"]),
        unused="step" if "zeroed" in recorded["note"] else "skip",
    )


def optim_case(family: Family) -> dict[str, Tensor]:
    """losses of each step's batch before the step, at last the narrated batch's; final/<name>."""
    task = family.task()
    optimizer = build_optimizer(named_parameters(task.model), optimiser_config(family))
    factor, dropped_at = rate_drop(family.sidecar["optimiser"]["schedule"])
    seen = []
    for step, kind in enumerate(family.sidecar["optimiser"]["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * (factor if step >= dropped_at else 1.0)
        named = losses(task, family, kind)
        seen.append(named)
        optimizer.zero_grad(set_to_none=True)
        named["loss_total" if kind == "sort" else "loss_nce"].backward()
        optimizer.step()
    seen.append(losses(task, family, "sort"))
    both = [
        [named["loss_nce"].item(), named["loss_sort_x2"].item() if len(named) > 1 else 0.0] for named in seen
    ]
    final = {f"final/{theirs(name)}": value.detach() for name, value in task.model.named_parameters()}
    return {"losses": torch.tensor(both), **final}


def two_ranks(families: list[Family]) -> dict[str, dict[str, Tensor]]:
    """The dist2 case of each family, in two processes that talk over gloo."""
    by_rank = in_two_ranks(_half_batches, families)
    return {family.name: _joined(*(answer[family.name] for answer in by_rank)) for family in families}


def _joined(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Tensor]:
    """Losses of both ranks side by side; the averaged gradients are the same on both."""
    return {
        name: torch.from_numpy(value) if name.startswith("grad/") else torch.tensor([value, second[name]])
        for name, value in first.items()
    }


def _half_batches(rank: int, families: list[Family]) -> dict[str, dict[str, Any]]:
    return {family.name: _half_batch(family, rank) for family in families}


def _half_batch(family: Family, rank: int) -> dict[str, Any]:
    task = family.task()
    parallel = nn.parallel.DistributedDataParallel(task, find_unused_parameters=True)
    half = family.config["batch"] // 2
    mine = slice(rank * half, (rank + 1) * half)
    named = losses(parallel, family, "sort", family.batch("sort").rows(mine), family.video()[mine])
    named["loss_total"].backward()
    values = {name: value.item() for name, value in named.items()}
    return {**values, **{name: grad.cpu().numpy() for name, grad in gradients(task).items()}}
