"""Times that some runs never reached."""

from __future__ import annotations

from collections.abc import Sequence

from scipy import stats as scipy_stats


def censored_median(events: Sequence[float | None], ends: Sequence[float]) -> float | None:
    """Kaplan-Meier median of times (seeds,), where None is censored at that seed's end (seeds,).

    The smallest time at which the survival function is at most one half; None where it never falls that far.

    Source: Kaplan and Meier, JASA 53 (1958), through ``scipy.stats.ecdf``.
    """
    seen = [event for event in events if event is not None]
    if not seen:
        return None
    censored = [end for event, end in zip(events, ends, strict=True) if event is None]
    survival = scipy_stats.ecdf(scipy_stats.CensoredData(uncensored=seen, right=censored)).sf
    for time, probability in zip(survival.quantiles, survival.probabilities, strict=True):
        if probability <= 0.5 + 1e-12:
            return float(time)
    return None
