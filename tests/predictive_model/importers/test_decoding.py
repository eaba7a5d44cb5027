"""Pictures are read as they look, whatever way their pixels are kept; or they are refused."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from predictive_model.importers.archives import ReadingNote
from predictive_model.importers.decoding import MID_GREY, PictureError, PictureReader

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)
DEEP = GREY.astype(np.uint16) * 257  # white is 65,535


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def read(content: bytes, mode: str | None = None) -> tuple[np.ndarray, list[str]]:
    """Pixels, and what is said of how they were read."""
    reader = PictureReader()
    pixels = np.asarray(reader.read(content, "a.png", mode))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ReadingNote)
        reader.warn_of_decisions("here")
    return pixels, [str(note.message) for note in seen]


def png(pixels: np.ndarray, colour_type: int, depth: int) -> bytes:
    """A PNG file of a kind that Pillow reads but does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(pixels: np.ndarray, **tags: int) -> bytes:
    return saved(Image.fromarray(pixels), "TIFF", tiffinfo=_tags(tags))


def _tags(tags: dict[str, int]) -> ImageFileDirectory_v2:
    found = ImageFileDirectory_v2()
    for name, value in tags.items():
        found[{"photometric": 262, "sample_format": 339}[name]] = value
    return found


def raw_tiff(pixels: np.ndarray, order: str = ">", photometric: int = 1) -> bytes:
    """Uncompressed TIFF of as many bits as the pixels have."""
    height, width = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    bits = 8 * pixels.itemsize
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric)]
    tags += [(273, 8), (277, 1), (278, height), (279, len(data))]
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    magic = b"MM\0*" if order == ">" else b"II*\0"
    return magic + struct.pack(f"{order}I", 8 + len(data)) + data + directory


@pytest.mark.parametrize(
    "content",
    [
        saved(Image.fromarray(DEEP), "PNG"),
        saved(Image.fromarray(DEEP), "TIFF"),
        raw_tiff(DEEP),
        raw_tiff(~DEEP, "<", photometric=0),
        b"P5 9 6 65535\n" + DEEP.astype(">u2").tobytes(),
        png(np.stack([DEEP, np.full_like(DEEP, 65535)], -1), 4, 16),
    ],
    ids=["PNG", "TIFF", "big-endian TIFF", "TIFF of which 0 is white", "PGM", "PNG with alpha"],
)
def test_grey_of_16_bits_keeps_black_and_white(content: bytes) -> None:
    pixels, said = read(content, "L")
    np.testing.assert_array_equal(pixels, GREY)
    assert any("16 bits a channel" in note for note in said) or content.startswith(b"P5")


def test_colour_of_16_bits_keeps_the_upper_8() -> None:
    pixels, said = read(png(COLOUR.astype(np.uint16) * 257, 2, 16))
    np.testing.assert_array_equal(pixels, COLOUR)
    assert "16 bits a channel" in said[0]


def test_a_dark_picture_of_8_bits_is_read_as_it_is() -> None:
    """Also one that is 16 pixels wide, which is no number of bits."""
    dark = GREY[:, :1].repeat(16, 1) // 32
    for content in (saved(Image.fromarray(dark), "TIFF"), saved(Image.fromarray(dark), "PNG")):
        pixels, said = read(content)
        np.testing.assert_array_equal(pixels, dark)
        assert said == []


def test_twelve_bits_in_a_file_of_sixteen_are_not_read_as_black() -> None:
    with pytest.raises(PictureError, match="no value above 4,095 of 65,535.*multiply"):
        read(saved(Image.fromarray(DEEP >> 4), "PNG"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_photograph_stands_as_its_camera_was_held(orientation: int, format: str) -> None:
    lossless = {"quality": 100, "lossless": True} if format == "WEBP" else {}
    ramp = np.add.outer(np.arange(16) * 12, np.arange(24) * 2).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = saved(Image.fromarray(ramp), format, exif=exif, **lossless)
    pixels, said = read(stored, "L")
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(stored))).convert("L"))
    np.testing.assert_array_equal(pixels, shown)
    upright = {1: ramp, 3: ramp[::-1, ::-1], 6: np.rot90(ramp, -1), 8: np.rot90(ramp)}
    if orientation in upright and format == "PNG":
        deep = saved(Image.fromarray(ramp.astype(np.uint16) * 257), "PNG", exif=exif)
        np.testing.assert_array_equal(read(deep)[0], pixels)
    if orientation in upright:
        assert pixels.shape == upright[orientation].shape
        assert np.abs(pixels.astype(int) - upright[orientation]).max() <= 4
    assert bool(said) == (orientation > 1 and format != "TIFF")  # which Pillow turns by itself


def palette_with_a_clear_colour() -> bytes:
    image = Image.fromarray(np.eye(6, dtype=np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 0, 255])
    return saved(image, "PNG", transparency=1)


def with_alpha(mode: str) -> bytes:
    colours = {"LA": (0, 0), "RGBA": (255, 0, 255, 0)}
    image = Image.new(mode, (6, 6), (*[0] * (len(mode) - 1), 255))
    for i in range(6):
        image.putpixel((i, i), colours[mode])
    return saved(image, "PNG")


@pytest.mark.parametrize(
    "content",
    [
        palette_with_a_clear_colour(),
        with_alpha("LA"),
        with_alpha("RGBA"),
        saved(Image.fromarray(np.eye(6, dtype=np.uint8) * 9), "PNG", transparency=9),
        saved(Image.fromarray(np.eye(6, dtype=np.uint16) * 9), "PNG", transparency=9),
    ],
    ids=["palette", "LA", "RGBA", "clear grey", "clear grey of 16 bits"],
)
def test_what_is_transparent_shows_mid_grey(content: bytes) -> None:
    """Not the colour that nobody sees."""
    pixels, said = read(content, "L")
    np.testing.assert_array_equal(pixels, np.eye(6) * MID_GREY)
    assert any("transparent parts" in note for note in said)


def test_an_alpha_channel_that_hides_nothing_changes_nothing() -> None:
    image = Image.fromarray(COLOUR)
    image.putalpha(255)
    pixels, said = read(saved(image, "PNG"))
    np.testing.assert_array_equal(pixels, COLOUR)
    assert said == []


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_read_and_that_is_said(format: str) -> None:
    frames = [Image.fromarray(np.full((8, 8), shade, np.uint8)) for shade in (40, 200, 90)]
    content = saved(
        frames[0], format, save_all=True, append_images=frames[1:], **{"lossless": True}
    )
    pixels, said = read(content, "L")
    assert np.abs(pixels.astype(int) - 40).max() <= 1
    assert "several frames" in said[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (saved(Image.fromarray(GREY > 127), "PNG"), np.where(GREY > 127, 255, 0)),
        (saved(Image.fromarray(GREY), "TIFF"), GREY),
        (tiff(GREY, photometric=0), GREY),
        (saved(Image.fromarray(GREY), "BMP"), GREY),
    ],
    ids=["one bit", "TIFF", "TIFF of which 0 is white", "BMP"],
)
def test_grey_of_few_bits(content: bytes, expected: np.ndarray) -> None:
    pixels, said = read(content)
    np.testing.assert_array_equal(pixels, expected)
    assert said == []


def test_ink_becomes_light() -> None:
    ink = np.zeros((4, 4, 4), np.uint8)
    ink[:2, :, 3] = 255  # black above, bare paper below
    pixels, said = read(saved(Image.fromarray(ink, "CMYK"), "JPEG", quality=100))
    assert pixels[:2].max() < 5 and pixels[2:].min() > 250
    assert "CMYK" in said[0]


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (saved(Image.fromarray(GREY.astype(np.float32) / 255), "TIFF"), "F .floats"),
        (saved(Image.fromarray(GREY.astype(np.int32)), "TIFF"), "I .integers of 32 bits"),
        (tiff(GREY, sample_format=2), "L .values with a sign"),
        (saved(Image.new("LAB", (4, 4)), "TIFF"), "LAB"),
    ],
)
def test_pixels_whose_white_is_not_known_are_refused(content: bytes, mode: str) -> None:
    with pytest.raises(PictureError, match=rf"a\.png: has pixels of mode {mode}.*fromarray"):
        read(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><title>Sign in</title>", "it is a web page.*browser"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "`git lfs pull`"),
        (b"/annex/objects/SHA256E-s9--00.png\n", "`git annex get`"),
        (raw_tiff(GREY.astype(np.float64)), "not known here; .*save it as PNG"),
        (bytes(500), "nothing but zeros"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (saved(Image.fromarray(COLOUR), "PNG")[:-40], "replace or remove"),
    ],
)
def test_a_file_that_is_no_picture_is_told_by_what_it_is(content: bytes, reason: str) -> None:
    with pytest.raises(PictureError, match=rf"a\.png: cannot be decoded: .*{reason}"):
        read(content)


def test_a_picture_has_one_reading_for_stimuli_and_tasks() -> None:
    """Grey of colour is the luma of the same pixels."""
    content = saved(Image.fromarray(COLOUR), "PNG")
    luma = np.asarray(Image.fromarray(read(content)[0]).convert("L"))
    np.testing.assert_array_equal(read(content, "L")[0], luma)
