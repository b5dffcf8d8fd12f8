"""How sure a figure is: bootstrap intervals over users, a paired test between two models, Holm's correction.

Numbers in, numbers out; which models are compared, and what the verdict is called, is the study's business.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_RESAMPLES = 10_000
MAX_EXACT_USERS = 13  # up to here all 2^n sign patterns are fewer than N_RESAMPLES: count them all
RESAMPLE_BLOCK = 2_000_000  # draws held in memory at a time
MAX_DRAWS = 50_000_000  # intervals of very many users take fewer resamples
LEAST_RESAMPLES = 1_000


def bootstrap_interval(
    values: ArrayLike, seed: int, level: float = 0.95, n_resamples: int = N_RESAMPLES
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over users (Efron & Tibshirani 1993, section 13.3).

    `values` holds one figure per user; NaN (a user without value) is left out, as it is out of the mean. Gives
    (NaN, NaN) where nothing is left. The same seed gives the same interval.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"`0 < level < 1` must hold, but got {level=}.")
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return float("nan"), float("nan")
    means = _resampled_means(known[:, None], seed, n_resamples)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def _resampled_means(values: NDArray[np.float64], seed: int, n_resamples: int) -> NDArray[np.float64]:
    """Return the means of M figures (n, M) over n users drawn with replacement, again and again, (n_resamples, M)."""
    n_users = len(values)
    generator = np.random.default_rng(seed)
    means = np.empty((n_resamples, values.shape[1]))
    step = max(1, RESAMPLE_BLOCK // n_users)
    for start in range(0, n_resamples, step):
        n_drawn = min(step, n_resamples - start)
        drawn = generator.integers(0, n_users, size=(n_drawn, n_users), dtype=np.int32)
        if values.shape[1] == 1:
            means[start : start + n_drawn, 0] = values[:, 0][drawn].mean(axis=1)
            continue
        drawn += n_users * np.arange(n_drawn, dtype=np.int32)[:, None]
        times = np.bincount(drawn.reshape(-1), minlength=n_drawn * n_users).reshape(n_drawn, n_users)
        means[start : start + n_drawn] = times @ values / n_users
    return means


def bootstrap_intervals(
    per_user: Mapping[str, ArrayLike], seed: int, level: float = 0.95, n_resamples: int | None = None
) -> dict[str, tuple[float, float]]:
    """Return {metric: what `bootstrap_interval` returns for its figures}, metrics of the same users drawn together.

    `per_user` holds a figure per user for each metric, NaN where a user has none. Unless told, very many users take
    fewer resamples.
    """
    values = {name: np.asarray(figures, dtype=np.float64) for name, figures in per_user.items()}
    together: dict[bytes, list[str]] = {}
    for name, figures in values.items():
        together.setdefault(np.isnan(figures).tobytes(), []).append(name)
    found: dict[str, tuple[float, float]] = {}
    for names in together.values():
        known = ~np.isnan(values[names[0]])
        if not known.any():
            found |= dict.fromkeys(names, (float("nan"), float("nan")))
            continue
        table = np.stack([values[name][known] for name in names], axis=1)  # (n, M)
        means = _resampled_means(table, seed, n_resamples or n_resamples_of(len(table)))
        low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
        found |= {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}
    return {name: found[name] for name in values}


def n_resamples_of(n_users: int) -> int:
    """Return how many resamples an interval over so many users takes."""
    return max(LEAST_RESAMPLES, min(N_RESAMPLES, MAX_DRAWS // max(n_users, 1)))


def paired_difference(ours: ArrayLike, theirs: ArrayLike) -> dict[str, float]:
    """Return how far ours is ahead of theirs, for the same users in the same order: difference, low, high, p.

    The mean difference, its 95 % bootstrap interval and the p-value of `paired_test`.
    """
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    low, high = bootstrap_interval(differences, 0, n_resamples=n_resamples_of(len(differences)))
    p = paired_test(ours, theirs)
    return {"difference": float(np.nanmean(differences)), "low": low, "high": high, "p": p}


def paired_test(
    a: ArrayLike,
    b: ArrayLike,
    *,
    users: ArrayLike | None = None,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> float:
    """Return the two-sided p-value of "both models serve the same users equally well": a sign-flip permutation test.

    `a` and `b` hold the two models' figures for the same users in the same order. Under the hypothesis the labels of
    a user's two figures are exchangeable, so the sign of each difference is a fair coin (Fisher 1935); the statistic is
    the mean difference, which is what we report. Why this one (Smucker, Allan & Carterette 2007 compare them for
    retrieval): the differences are mostly zero and skewed, so Wilcoxon's test, which drops zeros and wants symmetry
    around a median, answers another question; the paired t-test agrees for many users and needs them.

    Figures of several seeds are pooled by passing them concatenated with `users`, a user code for each: all figures of
    a user are one observation and change sign together, since they are not independent. The runs themselves are
    taken as given: the p-value speaks about other users, not about other training seeds.

    Users whose figures differ nowhere change nothing. Up to 13 others every sign pattern is counted; for more, seeded
    random patterns are, and p is never below 1 / (n_resamples + 1). Pairs with a NaN are left out.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"One figure per user and model must be given, but got shapes {first.shape}, {second.shape}.")
    differences = first - second
    codes = np.arange(len(differences)) if users is None else np.asarray(users)
    if codes.shape != differences.shape:
        raise ValueError(f"One user per figure must be given, but got {len(codes)} for {len(differences)} figures.")
    known = ~np.isnan(differences)
    _, owners = np.unique(codes[known], return_inverse=True)
    sums: NDArray[np.float64] = np.bincount(owners, weights=differences[known]).astype(np.float64)  # one per user
    # Rounding must neither break the tie between the pattern that was seen and its equals nor turn a zero into a sign.
    tolerance = 1e-12 * float(np.abs(sums).sum())
    sums = sums[np.abs(sums) > tolerance]
    observed = abs(float(sums.sum())) - tolerance

    if len(sums) <= MAX_EXACT_USERS:
        patterns = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1
        return float(np.mean(np.abs(_flip(patterns, sums)) >= observed))
    generator = np.random.default_rng(seed)
    n_extreme = 0
    step = max(1, RESAMPLE_BLOCK // len(sums))
    for start in range(0, n_resamples, step):
        size = (min(step, n_resamples - start), len(sums))
        n_extreme += int(np.count_nonzero(np.abs(_flip(_coins(generator, size), sums)) >= observed))
    return (1 + n_extreme) / (n_resamples + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for having made several comparisons, in the order given (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1; none is smaller than the one before it or larger than 1.

    >>> [round(p, 2) for p in holm([0.04, 0.01, 0.03])]
    [0.06, 0.03, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not ((values >= 0.0) & (values <= 1.0)).all():
        raise ValueError(f"`0 <= p <= 1` must hold for every p-value, but got {list(p_values)}.")
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return [float(value) for value in adjusted]


def _coins(generator: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return fair coins 0 and 1, eight from each random byte."""
    n_rows, n_columns = size
    drawn = generator.integers(0, 256, size=(n_rows, (n_columns + 7) // 8), dtype=np.uint8)
    return np.unpackbits(drawn, axis=1, count=n_columns)


def _flip(patterns: NDArray[np.integer], sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each pattern of coins the total in which a 0 has turned the sign of its user's sum."""
    totals: NDArray[np.float64] = 2.0 * (patterns.astype(np.float64) @ sums) - sums.sum()
    return totals
