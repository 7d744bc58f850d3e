"""The space of a search as Optuna's distributions (extra `optuna`), and settings as its parameters."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from infra.errors import UserError
from tune.settings import Setting
from tune.space import Dimension, LogUniform, Search, Uniform

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

VARIANT = "variant"


def distributions(search: Search) -> "dict[str, BaseDistribution]":
    """One for each dimension, and one for the variants if there are any. UserError where Optuna is not installed."""
    try:
        from optuna.distributions import CategoricalDistribution, FloatDistribution
    except ImportError as error:
        raise UserError("search.sampler optuna needs the extra: pip install 'reelscript[optuna]'") from error

    def of(dimension: Dimension) -> "BaseDistribution":
        if isinstance(dimension, LogUniform | Uniform):
            log = isinstance(dimension, LogUniform)
            return FloatDistribution(dimension.low, dimension.high, log=log)
        return CategoricalDistribution(dimension.values)

    variants = {VARIANT: CategoricalDistribution(tuple(search.variants))} if search.variants else {}
    return {**{name: of(each) for name, each in search.space.items()}, **variants}


def parameters(setting: Setting) -> dict[str, Any]:
    """A setting as Optuna knows it."""
    return {**setting.values, **({VARIANT: setting.variant} if setting.variant else {})}


def setting_of(parameters: Mapping[str, Any]) -> Setting:
    """A setting that Optuna suggested."""
    values = {name: value for name, value in parameters.items() if name != VARIANT}
    return Setting(values, parameters.get(VARIANT, ""))
