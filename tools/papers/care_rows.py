"""A line of CARE's comparison: what a strategy chose, for the table, the file and the plots."""

from __future__ import annotations

from dataclasses import dataclass

HEADER = [
    *("gpus", "latency_goal_s", "quality_goal (table I)", "strategy", "chosen", "latency_ms"),
    *("energy_mj (model)", "deployments_tried", "latency is"),
]


@dataclass(frozen=True)
class StrategyRow:
    """What a strategy chose for a latency (seconds) and a quality (0..1) on the servers with so many GPUs."""

    gpus: int
    latency: float
    quality: float
    strategy: str
    chosen: str
    seconds: float | None
    joules: float | None
    tried: int
    source: str

    def cells(self) -> list[str]:
        """As a line of choices.csv."""
        return [
            str(self.gpus),
            f"{self.latency:g}",
            f"{self.quality:.2f}",
            self.strategy,
            self.chosen,
            "-" if self.seconds is None else f"{1e3 * self.seconds:.1f}",
            self.milli,
            str(self.tried or "-"),
            self.source,
        ]

    @property
    def milli(self) -> str:
        """Its energy in mJ."""
        return "-" if self.joules is None else f"{1e3 * self.joules:.0f}"
