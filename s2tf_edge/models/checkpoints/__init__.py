"""Published checkpoints: read, known by their names for weights, and turned into networks of this package.

file → reading (containers, prefixes) → weights by published name → formats → ours → fitting → network
└→ candidates, advice: what else they fit
"""

from s2tf_edge.models.checkpoints.fitting import KeyReport, load_published
from s2tf_edge.models.checkpoints.formats import FORMATS
from s2tf_edge.models.checkpoints.importing import import_checkpoint

__all__ = ["FORMATS", "KeyReport", "import_checkpoint", "load_published"]
