"""Drawings of the sample catalogue: one object on one half of a picture, in varied colours, sizes and places.

All randomness comes from the `random.Random` that is passed in, so a seed gives the same pixels.
"""

import io
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image, ImageDraw

__all__ = ["DRAWINGS", "PICTURE_SIZE_PX", "draw_neutral", "draw_product", "encode_picture"]

PICTURE_SIZE_PX = 240

Color = tuple[int, int, int]
_LINE: Color = (45, 45, 50)


@dataclass(frozen=True, slots=True)
class _Pen:
    """Draws in the unit square of one object: (0, 0) its top left corner, (1, 1) its bottom right one."""

    canvas: ImageDraw.ImageDraw
    left_px: float
    top_px: float
    size_px: float
    color: Color
    accent: Color

    def box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        return (*self.point(x0, y0), *self.point(x1, y1))

    def point(self, x: float, y: float) -> tuple[float, float]:
        return self.left_px + x * self.size_px, self.top_px + y * self.size_px

    def points(self, *corners: tuple[float, float]) -> list[tuple[float, float]]:
        return [self.point(x, y) for x, y in corners]


def _book(pen: _Pen) -> None:
    pen.canvas.rectangle(pen.box(0.15, 0.05, 0.85, 0.95), pen.color, _LINE, 2)
    pen.canvas.rectangle(pen.box(0.15, 0.05, 0.27, 0.95), pen.accent, _LINE, 2)
    for row in range(3):
        y = 0.2 + 0.1 * row
        pen.canvas.line(pen.box(0.38, y, 0.76, y), (255, 255, 255), 3)


def _ball(pen: _Pen) -> None:
    pen.canvas.ellipse(pen.box(0.05, 0.05, 0.95, 0.95), pen.color, _LINE, 3)
    pen.canvas.polygon(pen.points((0.5, 0.32), (0.68, 0.45), (0.61, 0.66), (0.39, 0.66), (0.32, 0.45)), _LINE)
    for x, y, x2, y2 in ((0.5, 0.32, 0.5, 0.06), (0.68, 0.45, 0.92, 0.36), (0.32, 0.45, 0.08, 0.36)):
        pen.canvas.line(pen.box(x, y, x2, y2), _LINE, 3)


def _cup(pen: _Pen) -> None:
    pen.canvas.arc(pen.box(0.58, 0.32, 0.98, 0.74), -100, 100, pen.accent, 8)
    pen.canvas.polygon(pen.points((0.08, 0.2), (0.76, 0.2), (0.68, 0.92), (0.16, 0.92)), pen.color, _LINE)
    pen.canvas.ellipse(pen.box(0.08, 0.12, 0.76, 0.28), (88, 56, 34), _LINE, 2)


def _lamp(pen: _Pen) -> None:
    pen.canvas.polygon(
        pen.points((0.34, 0.05), (0.66, 0.05), (0.9, 0.45), (0.1, 0.45)), (252, 222, 120), _LINE
    )
    pen.canvas.line(pen.box(0.5, 0.45, 0.5, 0.9), pen.accent, 6)
    pen.canvas.rectangle(pen.box(0.28, 0.88, 0.72, 0.96), pen.color, _LINE, 2)


def _chair(pen: _Pen) -> None:
    for x in (0.22, 0.78):
        pen.canvas.line(pen.box(x, 0.04, x, 0.96), (140, 96, 56), 7)
    for y in (0.1, 0.22, 0.34):
        pen.canvas.line(pen.box(0.22, y, 0.78, y), (140, 96, 56), 5)
    pen.canvas.polygon(pen.points((0.16, 0.52), (0.84, 0.52), (0.92, 0.64), (0.08, 0.64)), pen.color, _LINE)


def _cushion(pen: _Pen) -> None:
    pen.canvas.rounded_rectangle(pen.box(0.05, 0.15, 0.95, 0.85), 0.22 * pen.size_px, pen.color)
    for column in range(4):
        x = 0.2 + 0.2 * column
        pen.canvas.line(pen.box(x, 0.17, x, 0.83), pen.accent, 6)


def _gamepad(pen: _Pen) -> None:
    pen.canvas.rounded_rectangle(pen.box(0.02, 0.28, 0.98, 0.74), 0.2 * pen.size_px, (70, 72, 80), _LINE, 2)
    pen.canvas.rectangle(pen.box(0.2, 0.38, 0.28, 0.62), (235, 235, 235))
    pen.canvas.rectangle(pen.box(0.12, 0.46, 0.36, 0.54), (235, 235, 235))
    for x, y in ((0.74, 0.38), (0.66, 0.5), (0.82, 0.5), (0.74, 0.62)):
        pen.canvas.ellipse(pen.box(x - 0.04, y - 0.04, x + 0.04, y + 0.04), pen.color)


def _pool(pen: _Pen) -> None:
    pen.canvas.rectangle(pen.box(0.0, 0.45, 1.0, 0.78), pen.color)
    pen.canvas.ellipse(pen.box(0.0, 0.6, 1.0, 0.95), pen.color)
    pen.canvas.ellipse(pen.box(0.0, 0.25, 1.0, 0.65), (236, 240, 244), pen.color, 4)
    pen.canvas.ellipse(pen.box(0.07, 0.31, 0.93, 0.61), (84, 182, 226))


def _car(pen: _Pen) -> None:
    pen.canvas.polygon(
        pen.points((0.24, 0.45), (0.36, 0.24), (0.68, 0.24), (0.8, 0.45)), (196, 222, 236), _LINE
    )
    pen.canvas.rounded_rectangle(pen.box(0.02, 0.42, 0.98, 0.68), 0.07 * pen.size_px, pen.color, _LINE, 2)
    for x in (0.25, 0.75):
        pen.canvas.ellipse(pen.box(x - 0.13, 0.55, x + 0.13, 0.81), _LINE)
        pen.canvas.ellipse(pen.box(x - 0.05, 0.63, x + 0.05, 0.73), (205, 205, 210))


DRAWINGS: Mapping[str, Callable[[_Pen], None]] = {
    "ball": _ball,
    "book": _book,
    "car": _car,
    "chair": _chair,
    "cup": _cup,
    "cushion": _cushion,
    "gamepad": _gamepad,
    "lamp": _lamp,
    "pool": _pool,
}
"""Name -> what draws that object."""


def draw_product(drawing: str, *, on_right: bool, rng: random.Random) -> Image.Image:
    """A picture of one object on its left or right half; the other half is plain background.

    Args:
        drawing: a name of `DRAWINGS`.
        on_right: whether the object is on the right half.
        rng: where colour, size and place come from.

    Returns:
        An RGB picture, `PICTURE_SIZE_PX` square.
    """
    picture = Image.new("RGB", (PICTURE_SIZE_PX, PICTURE_SIZE_PX), _background(rng))
    half_px = PICTURE_SIZE_PX / 2
    size_px = half_px * rng.uniform(0.78, 0.96)
    pen = _Pen(
        canvas=ImageDraw.Draw(picture),
        left_px=half_px * on_right + rng.uniform(0, half_px - size_px),
        top_px=rng.uniform(0.1, 0.9) * (PICTURE_SIZE_PX - size_px),
        size_px=size_px,
        color=_color(rng),
        accent=_color(rng),
    )
    DRAWINGS[drawing](pen)
    return picture


def draw_neutral(rng: random.Random) -> Image.Image:
    """A picture that says nothing about its product: plain background, sometimes in a thin frame."""
    picture = Image.new("RGB", (PICTURE_SIZE_PX, PICTURE_SIZE_PX), _background(rng))
    if rng.random() < 0.5:
        edge_px = PICTURE_SIZE_PX - 9
        ImageDraw.Draw(picture).rectangle((8, 8, edge_px, edge_px), outline=(200, 200, 200), width=2)
    return picture


def encode_picture(picture: Image.Image, *, as_png: bool) -> bytes:
    """The bytes of a JPEG or PNG file."""
    file = io.BytesIO()
    if as_png:
        picture.save(file, "PNG")
    else:
        picture.save(file, "JPEG", quality=88)
    return file.getvalue()


def _background(rng: random.Random) -> Color:
    shade = rng.randrange(238, 256)
    return shade, shade, shade


def _color(rng: random.Random) -> Color:
    return rng.randrange(30, 226), rng.randrange(30, 226), rng.randrange(30, 226)
