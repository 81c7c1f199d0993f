"""From float to integer: clips to calibrate with, and quantizers."""

from s2tf_edge.calibration.calibration_clips import CalibrationClips

__all__ = ["CalibrationClips"]
