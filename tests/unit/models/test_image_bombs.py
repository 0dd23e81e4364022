"""Pictures that are made to take time or memory take little of either."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from PIL import Image

from models.errors import ImageError, ImageReason
from models.image.decoding import ImageLimits, decode_image
from models.image.formats import open_container
from models.inputs import Product
from models.preprocessing import Preprocessor
from tests.pictures import BOMBS, JPEG, JPEG_SOI, USABLE, gif, plain, png, png_header, saved, zeros
from tests.tiny_models import TinyImage

SIZE = 32
PROJECT = Path(__file__).parents[3]

REASONS: dict[str, ImageReason | None] = {
    "900 megapixels in 70 bytes": ImageReason.TOO_MANY_PIXELS,
    "a second header, of 400 megapixels": ImageReason.CORRUPT,
    "40 million pixels in one row": ImageReason.TOO_MANY_PIXELS,
    "40 million rows of one pixel": ImageReason.TOO_MANY_PIXELS,
    "2 GB of text, zTXt": None,
    "2 GB of text, iTXt": None,
    "2 GB of colour profile": None,
    "600,000 chunks": ImageReason.CORRUPT,
    "more pixels than announced": None,
    "9 MB of EXIF": None,
    "9 MB of colour profile": None,
    "a second frame header": ImageReason.CORRUPT,
    "nothing but 0xFF": ImageReason.CORRUPT,
    "0xFF within the pixels": None,
    "5 million markers": ImageReason.CORRUPT,
    "1,000 scans": ImageReason.TOO_MANY_PIXELS,
    "20,000 frames in 300 KB": None,
    "3,600 megapixels in 35 bytes": ImageReason.TOO_MANY_PIXELS,
    "5 million blocks of a comment": ImageReason.TRUNCATED,
    "run-length pixels": ImageReason.UNSUPPORTED_FORMAT,
    "25 megapixels in 38 bytes": None,
    "49 megapixels in 38 bytes": ImageReason.TOO_MANY_PIXELS,
    "25 megapixels with transparency": None,
    "49 megapixels, progressive": None,
}


def outcome(data: bytes, **limits: int) -> ImageReason | None:
    try:
        decode_image(data, SIZE, ImageLimits(**limits))
    except ImageError as error:
        return error.reason
    return None


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_little_time_and_has_its_reason(name: str) -> None:
    data = BOMBS[name]()
    assert len(data) <= ImageLimits().max_image_bytes
    start = process_time()
    assert outcome(data) is REASONS[name]
    # At most 0.3 s on a core of its own; what else runs here may cost some more.
    assert process_time() - start < 3


@pytest.mark.parametrize("size", [10_000, 20_000])
def test_of_an_animation_only_the_first_frame_is_looked_at(size: int) -> None:
    assert open_container(gif(size)).data == open_container(gif(1)).data


@pytest.mark.parametrize("name", [name for name in BOMBS if "of text" in name or "profile" in name])
def test_text_and_profiles_are_not_handed_to_a_decoder(name: str) -> None:
    assert len(open_container(BOMBS[name]()).data) < 10_000


@pytest.mark.parametrize("before", [JPEG_SOI, JPEG[:-2]], ids=["header", "scan"])
def test_a_run_of_marker_bytes_takes_time_in_proportion(before: bytes) -> None:
    def seconds(length: int) -> float:
        """The least of three: what else runs here only adds to it."""
        data, times = before + b"\xff" * length + b"\0\xff\xd9", []
        for _ in range(3):
            start = process_time()
            outcome(data, max_image_bytes=2**30)
            times.append(process_time() - start)
        return min(times)

    seconds(1_000)
    assert seconds(8_000_000) < 4 * 3 * max(seconds(2_000_000), 0.01)


def test_the_longest_side_and_the_most_pixels_are_allowed() -> None:
    whole = {"max_whole_pixels": 65_535}
    assert outcome(saved(plain(size=(65_535, 1))), **whole) is None
    assert outcome(saved(plain(size=(65_536, 1)))) is ImageReason.TOO_MANY_PIXELS
    assert outcome(saved(plain(size=(256, 256))), **whole) is ImageReason.TOO_MANY_PIXELS
    assert outcome(saved(plain(size=(256, 256)), "JPEG"), **whole) is None


def transparent_above(mode: str) -> bytes:
    """Three quarters that are transparent, the rest opaque grey; laid on white in several strips."""
    picture = Image.new("RGBA", (1_100, 2_000))
    picture.paste((90, 90, 90, 255), (0, 1_500, 1_100, 2_000))
    if mode in ("RGBA", "LA"):
        return saved(picture.convert(mode))
    flat = Image.new("L", picture.size, 1)
    flat.paste(90, (0, 1_500, 1_100, 2_000))
    if mode == "P":
        return saved(flat.convert("P"), transparency=b"\xff\0")
    return saved(flat.convert("RGB"), transparency=(1, 1, 1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_a_large_transparent_picture_equals_its_white_twin(mode: str) -> None:
    twin = plain((255, 255, 255), size=(1_100, 2_000))
    twin.paste((90, 90, 90), (0, 1_500, 1_100, 2_000))
    expected = decode_image(saved(twin), SIZE, ImageLimits())
    np.testing.assert_array_equal(decode_image(transparent_above(mode), SIZE, ImageLimits()), expected)


def test_pictures_that_are_not_begun_in_time_are_left_out() -> None:
    times = iter([100.0, 100.0, 129.9, 130.1, 131.0])
    preprocessor = Preprocessor(None, TinyImage(), clock=lambda: next(times))
    prepared = preprocessor.prepare([Product(image=USABLE["png"][0]) for _ in range(4)])
    assert prepared.image_reasons == (None, None, ImageReason.TIMEOUT, ImageReason.TIMEOUT)
    np.testing.assert_array_equal(prepared.image_rows_N, [0, 1])


STATUS = Path("/proc/self/status")
PREPARE_A_BATCH = """
import json, psutil, re, sys
from concurrent.futures import ThreadPoolExecutor
from models.errors import ImageReason
from models.inputs import Product
from models.preprocessing import Preprocessor
from tests.pictures import USABLE
from tests.tiny_models import TinyImage, TinyText

def peak_mb():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) / 1024

bombs = [open(path, "rb").read() for path in sys.argv[1:]]
preprocessor = Preprocessor(TinyText(), TinyImage())
with ThreadPoolExecutor(4) as threads:
    preprocessor.prepare([Product(image=data) for data, _ in USABLE.values()], threads)
    before = psutil.Process().memory_info().rss / 2**20
    batch = [Product("Lampe", image=bombs[row * len(bombs) // 32]) for row in range(32)]
    prepared = preprocessor.prepare(batch, threads)
print(json.dumps({"grown_mb": peak_mb() - before, "used": len(prepared.image_rows_N)}))
"""


def peak_of_a_batch(tmp_path: Path, *builders: Callable[[], bytes]) -> tuple[float, int]:
    """How many MB a process of its own grows while it prepares 32 pictures, and how many it could use."""
    paths = [tmp_path / str(number) for number in range(len(builders))]
    for path, build in zip(paths, builders, strict=True):
        path.write_bytes(build())
    done = subprocess.run(
        [sys.executable, "-c", PREPARE_A_BATCH, *map(str, paths)],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(done.stdout)
    return told["grown_mb"], told["used"]


@pytest.mark.skipif(not STATUS.exists(), reason="the peak of a process alone is told by Linux only")
def test_a_batch_of_32_bombs_takes_the_memory_of_one_large_picture(tmp_path: Path) -> None:
    grown_mb, num_used = peak_of_a_batch(
        tmp_path,
        BOMBS["25 megapixels in 38 bytes"],
        BOMBS["25 megapixels with transparency"],
        BOMBS["2 GB of text, zTXt"],
        BOMBS["40 million pixels in one row"],
        BOMBS["49 megapixels, progressive"],
        BOMBS["9 MB of EXIF"],
        BOMBS["20,000 frames in 300 KB"],
        lambda: png(png_header(2_000, 1_999, colour_type=6), pixels=zeros(8_001 * 1_999)),
    )
    assert num_used == 28
    # 25 megapixels at 20 bytes, three pictures of 4 megapixels beside them, and what malloc keeps. Four large
    # ones side by side take 1,400.
    assert grown_mb < 25 * 20 + 3 * 4 * 20 + 100
