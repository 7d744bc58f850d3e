"""AdamW in its published form, the parameter groups, and the rate at a step (TVTSv2, section 8)."""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainers.recipe import Optimizer

_NEW = re.compile(r"^video\.blocks\.\d+\.(timeattn|ln_3)\.|^sorting\.")
_UNDECAYED = re.compile(r"bias|ln_|norm")


def is_new(name: str) -> bool:
    """True for what CLIP's weights do not cover. The temporal table is in the slow group, as published."""
    return _NEW.search(name) is not None


def is_decayed(name: str) -> bool:
    """Everything but biases and norms, by name: tables and projections are decayed."""
    return _UNDECAYED.search(name) is None


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]],
    config: Optimizer,
    new: Callable[[str], bool] = is_new,
) -> torch.optim.Optimizer:
    """Four groups, (new or rest) x (decayed or not), of the parameters that are trained.

    Each group carries its name and `base_lr`; `set_rates` scales it.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in parameters:
        if parameter.requires_grad:
            label = ("new" if new(name) else "rest") + ("_decay" if is_decayed(name) else "_nodecay")
            groups.setdefault(label, _group(label, config))["params"].append(parameter)
    ordered = [groups[label] for label in sorted(groups)]
    settings: dict[str, Any] = {"betas": config.betas, "eps": config.eps}
    optimizer: torch.optim.Optimizer
    if config.form == "published":
        optimizer = PublishedAdamW(ordered, **settings)
    else:
        optimizer = torch.optim.AdamW(ordered, fused=True, **settings)
    if config.unused == "step":
        optimizer.register_step_pre_hook(zero_missing_gradients)
    return optimizer


def _group(label: str, config: Optimizer) -> dict[str, Any]:
    rate = config.lr_new if label.startswith("new") else config.lr_rest
    decay = config.weight_decay if label.endswith("_decay") else 0.0
    return {"name": label, "params": [], "lr": rate, "base_lr": rate, "weight_decay": decay}


def zero_missing_gradients(optimizer: torch.optim.Optimizer, args: Any = (), kwargs: Any = None) -> None:
    """Give a zero gradient to parameters that have stepped before and have none now.

    This is what zeroing instead of dropping gradients did in the reference: a parameter unused in a step
    still moves by its moments and decays; one that was never used does not.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None and optimizer.state.get(parameter):
                parameter.grad = torch.zeros_like(parameter)


class PublishedAdamW(torch.optim.Optimizer):
    """AdamW of transformers 4.10.2: eps on the uncorrected second moment's root, decay after the step."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every parameter that has a gradient; none at all where `found_inf` is set, as GradScaler does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if getattr(self, "found_inf", None):  # waits for the gradients on a GPU; torch's fused AdamW does not
            return loss
        for group in self.param_groups:
            by_count: dict[float, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    count = self._state_of(parameter)["step"].add_(1)
                    by_count[float(count)].append(parameter)
            for taken, some in by_count.items():
                self._step_alike(group, some, taken)
        return loss

    def _step_alike(self, group: dict[str, Any], some: list[Tensor], taken: float) -> None:
        """Torch's own step in one pass over memory. It decays first and adds eps to the corrected root: with these
        numbers that is the published step, p' = (1 - lr wd) (p - lr sqrt(c2) / c1 m / (sqrt(v) + eps))."""
        (first_decay, second_decay), left = group["betas"], 1 - group["lr"] * group["weight_decay"]
        states = [self.state[parameter] for parameter in some]
        torch._fused_adamw_(
            some,
            [parameter.grad for parameter in some if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [torch.full((), taken, device=some[0].device)] * len(some),
            lr=group["lr"] * left,
            beta1=first_decay,
            beta2=second_decay,
            weight_decay=group["weight_decay"] / left,
            eps=group["eps"] / math.sqrt(1 - second_decay**taken),
            amsgrad=False,
            maximize=False,
        )

    def _state_of(self, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)  # a tensor, as torch's own
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state


def rate_factor(step: int, steps: int, config: Optimizer) -> float:
    """What multiplies every rate in step number `step` (from 0) of `steps`: warm-up, then the schedule."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "cosine":
        through = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
        return (1 + math.cos(math.pi * through)) / 2
    if config.schedule == "epoch_drops":
        finished = step // config.steps_per_epoch
        return float(0.1 ** sum(finished >= epoch for epoch in config.drop_epochs))
    return 1.0


def set_rates(optimizer: torch.optim.Optimizer, step: int, steps: int, config: Optimizer) -> None:
    """Set the rates of the coming step."""
    factor = rate_factor(step, steps, config)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
