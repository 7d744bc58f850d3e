"""AdamW in its published form, the parameter groups, and the rates of a step (TVTSv2, section 8)."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainers.loop.freezing import matching
from trainers.recipe import Optimizer


def build_optimizer(named: Mapping[str, nn.Parameter], config: Optimizer) -> torch.optim.Optimizer:
    """A group for each rate and for what is decayed or not ("new_decay", "rest_nodecay"), of what is trained.

    Each group carries its name and `base_lr`; `set_rates` scales it. ValueError for a pattern that matches none of the
    names, those of frozen parameters included, and for a trained parameter without a rate.
    """
    rates = _rates(list(named), config)
    undecayed = {name for pattern in config.undecayed for name in matching(list(named), pattern, "undecayed")}
    groups: dict[str, dict[str, Any]] = {}
    for name, parameter in named.items():
        if not parameter.requires_grad:
            continue
        if name not in rates:
            raise ValueError(f"optimizer.rates: no rate has a pattern for {name}; give one the pattern '*'")
        decay = 0.0 if name in undecayed else config.weight_decay
        label = f"{rates[name]}_{'nodecay' if name in undecayed else 'decay'}"
        rate = config.rates[rates[name]].lr
        group = {"name": label, "params": [], "lr": rate, "base_lr": rate, "weight_decay": decay}
        groups.setdefault(label, group)["params"].append(parameter)
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


def _rates(names: Sequence[str], config: Optimizer) -> dict[str, str]:
    """Name of a parameter -> name of the first rate that matches it."""
    found: dict[str, str] = {}
    for label, rate in config.rates.items():
        for pattern in rate.names:
            for name in matching(names, pattern, f"optimizer.rates.{label}"):
                found.setdefault(name, label)
    return found


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


def set_rates(optimizer: torch.optim.Optimizer, step: int, steps: int, config: Optimizer) -> None:
    """Set the rates of step number `step` (from 0) of `steps`."""
    factor = config.course(step, steps)
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
