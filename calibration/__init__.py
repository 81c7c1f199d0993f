"""From float to integer: clips to calibrate with, and quantisers."""

from s2tf_edge.calibration.clips import CalibrationClips

__all__ = ["CalibrationClips"]
