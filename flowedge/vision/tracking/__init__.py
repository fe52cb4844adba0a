"""Tracking: which detection of a frame is which object, in pure arrays."""

from flowedge.vision.tracking.kalman import Noise
from flowedge.vision.tracking.tracker import Tracker, TrackerSettings, elapsed

__all__ = ["Noise", "Tracker", "TrackerSettings", "elapsed"]
