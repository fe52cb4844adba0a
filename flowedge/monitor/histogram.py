"""A distribution of durations in constant memory."""

from __future__ import annotations

import math
import operator
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

_SMALLEST = 1e-6
_GROWTH = math.log(1.02)
_BUCKETS = 1050  # 1 microsecond to about 1000 s


class Histogram:
    """Counts durations in buckets that grow by 2 %, so every quantile is within 1 % of the true value.

    One thread adds; others may read.

    >>> times = Histogram()
    >>> for ms in range(1, 101): times.add(ms / 1000)
    >>> round(times.quantile(0.5), 3), len(times)
    (0.05, 100)
    """

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS

    def add(self, seconds: float) -> None:
        """Count one duration in seconds."""
        bucket = int(math.log(max(seconds, _SMALLEST) / _SMALLEST) / _GROWTH)
        self._counts[min(bucket, _BUCKETS - 1)] += 1

    def __len__(self) -> int:
        return sum(self._counts)

    def quantile(self, share: float) -> float | None:
        """The duration in seconds that `share` (0..1) of all durations do not exceed; None when empty."""
        return self.quantiles((share,))[0]

    def mean(self) -> float | None:
        """The mean duration in seconds, within 1 %; None when empty.

        >>> times = Histogram()
        >>> for ms in (10, 20, 60): times.add(ms / 1000)
        >>> round(times.mean(), 3)
        0.03
        """
        total = sum(
            count * _SMALLEST * math.exp((at + 0.5) * _GROWTH) for at, count in enumerate(self._counts) if count
        )
        return total / len(self) if total else None

    def copy(self) -> Histogram:
        """The durations so far."""
        result = Histogram()
        result._counts = self._counts.copy()
        return result

    def since(self, earlier: Histogram) -> Histogram:
        """The durations that were added after `earlier`, a copy of this one, was taken."""
        result = Histogram()
        result._counts = list(map(operator.sub, self._counts, earlier._counts))
        return result

    def summary_ms(self) -> dict[str, float | None]:
        """p50, p95 and p99 in milliseconds."""
        quantiles = zip(("p50", "p95", "p99"), self.quantiles((0.5, 0.95, 0.99)), strict=True)
        return {name: None if value is None else round(value * 1e3, 4) for name, value in quantiles}

    def quantiles(self, shares: Sequence[float]) -> list[float | None]:
        """`quantile` of several shares, in the time of one."""
        upto = list(accumulate(self._counts))
        total = upto[-1]
        if not total:
            return [None] * len(shares)
        # At least one duration is not exceeded by any: the first bucket that has any, for a share of 0.
        buckets = [bisect_left(upto, max(share * total, 1)) for share in shares]
        return [_SMALLEST * math.exp((bucket + 0.5) * _GROWTH) for bucket in buckets]

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Histogram:
        """One distribution of all durations in several."""
        result = cls()
        columns = zip(*(histogram._counts for histogram in histograms), strict=True)
        result._counts = [sum(column) for column in columns] or [0] * _BUCKETS
        return result
