"""What lies around a picture in its file, one module a format; decided by the bytes alone.

Of a file only what its first picture needs is handed to a decoder: no colour profiles, comments, text chunks,
thumbnails, further frames or trailing bytes, so nothing in those can break or slow it.
"""

from models.image.formats.base import Container, ImageFormat
from models.image.formats.sniffing import open_container

__all__ = ["Container", "ImageFormat", "open_container"]
