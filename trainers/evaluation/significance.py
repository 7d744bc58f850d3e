"""How far a share of trials can be trusted, and how likely guessing reaches it."""

import math

Z95 = 1.959963984540054
"""Standard deviations on each side of a normal distribution's middle that hold 95 % of it."""


def wilson(share: float, trials: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share of trials: the probabilities p whose own z standard deviations, z times the
    root of p (1 - p) / trials, reach the share. It never leaves [0, 1], and is no point at 0 or 1.
    """
    shrink = 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return (middle - half if share > 0 else 0.0), (middle + half if share < 1 else 1.0)


def luck(hits: int, trials: int, probability: float) -> float:
    """Probability that guessing gets at least `hits` of `trials` right (exact upper tail of the binomial).

    Terms are taken from logarithms: the coefficients themselves leave the range of floats above a thousand trials.
    """
    if hits <= 0 or probability >= 1:
        return 1.0
    if probability <= 0:
        return 0.0
    right, wrong = math.log(probability), math.log1p(-probability)
    ways = math.lgamma(trials + 1)
    return min(
        1.0,
        math.fsum(
            math.exp(
                ways
                - math.lgamma(count + 1)
                - math.lgamma(trials - count + 1)
                + count * right
                + (trials - count) * wrong
            )
            for count in range(hits, trials + 1)
        ),
    )
