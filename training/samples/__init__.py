"""The sample catalogue: a few hundred drawn products in the challenge's layout, the same bytes for a seed."""

from training.samples.catalogue import write_sample_catalogue
from training.samples.categories import SAMPLE_CATEGORIES, SampleCategory

__all__ = ["SAMPLE_CATEGORIES", "SampleCategory", "write_sample_catalogue"]
