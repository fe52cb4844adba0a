"""A distribution of durations in constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterable

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
        total = len(self)
        if not total:
            return None
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= share * total and count:
                return _SMALLEST * math.exp((bucket + 0.5) * _GROWTH)
        raise AssertionError("unreachable: the counts sum to the total")

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
        return Histogram.merged([self])

    def since(self, earlier: Histogram) -> Histogram:
        """The durations that were added after `earlier`, a copy of this one, was taken."""
        result = Histogram()
        result._counts = [now - then for now, then in zip(self._counts, earlier._counts, strict=True)]
        return result

    def summary_ms(self) -> dict[str, float | None]:
        """p50, p95 and p99 in milliseconds."""
        quantiles = {f"p{percent}": self.quantile(percent / 100) for percent in (50, 95, 99)}
        return {name: None if value is None else round(value * 1e3, 4) for name, value in quantiles.items()}

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Histogram:
        """One distribution of all durations in several."""
        result = cls()
        columns = zip(*(histogram._counts for histogram in histograms), strict=True)
        result._counts = [sum(column) for column in columns] or [0] * _BUCKETS
        return result
