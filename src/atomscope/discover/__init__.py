"""What recurs in an image and has no name: found, counted, averaged, cut out for calculators."""

from atomscope.discover.find import Discoveries, discover
from atomscope.discover.mean import Average
from atomscope.discover.save import write_discoveries

__all__ = ["Average", "Discoveries", "discover", "write_discoveries"]
