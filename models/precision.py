"""What numbers a network computes in; without torch, since settings name it."""

from enum import StrEnum

__all__ = ["Precision"]


class Precision(StrEnum):
    """What the image encoder computes in on a GPU; its evidence is float32 in any case."""

    AUTO = "auto"
    """float16 as long as the golden products keep their scores, else float32."""
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
