"""The space of a search as Optuna's distributions (extra `optuna`), and settings as its parameters."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from infra.errors import UserError
from tune.space import Dimension, LogUniform, Search, Uniform
from tune.trials import Setting

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DEPTH = "frozen_text_blocks"


def distributions(search: Search, depths: Sequence[int]) -> "dict[str, BaseDistribution]":
    """One for the depth and one for each dimension. UserError where Optuna is not installed."""
    try:
        from optuna.distributions import CategoricalDistribution, FloatDistribution
    except ImportError as error:
        raise UserError("search.sampler optuna needs the extra: pip install 'reelscript[optuna]'") from error

    def of(dimension: Dimension) -> "BaseDistribution":
        if isinstance(dimension, LogUniform | Uniform):
            log = isinstance(dimension, LogUniform)
            return FloatDistribution(dimension.low, dimension.high, log=log)
        return CategoricalDistribution(dimension.values)

    return {
        DEPTH: CategoricalDistribution(tuple(depths)),
        **{name: of(each) for name, each in search.space.items()},
    }


def parameters(setting: Setting) -> dict[str, Any]:
    """A setting as Optuna knows it."""
    return {DEPTH: setting.depth, **setting.values}


def setting_of(parameters: Mapping[str, Any]) -> Setting:
    """A setting that Optuna suggested."""
    return Setting(parameters[DEPTH], {name: value for name, value in parameters.items() if name != DEPTH})
