"""Published data sets in the layouts that their authors hand out: UCF101, HMDB51 and Kinetics."""

from s2tf_edge.data.published.address import is_published, published_from_any_folder
from s2tf_edge.data.published.opening import open_published

__all__ = ["is_published", "open_published", "published_from_any_folder"]
