"""The one reader of pictures, for stimuli and for tasks: bytes from 0, black, to 255, white.

What a file shows is what is read: it is turned upright as its EXIF orientation says, and parts that
are transparent show mid-grey, as the screen between stimuli does. Of 16 bits a channel the upper 8
are kept, and of several frames or pages the first is read. Colour profiles are not applied. A
picture whose black and white are not known, such as one of floats, is refused.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from predictive_model.file_kinds import why_unreadable
from predictive_model.importers.archives import note

SUFFIXES = (
    *(".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"),
    *(".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP")  # what Pillow calls them
MID_GREY = 128
SEVERAL_FRAMES = ("GIF", "PNG", "TIFF", "WEBP")  # and those of MPO are one photograph
ORIENTATION_IN = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}
GREY_MODES = ("1", "L", "LA", "La")
MODES = (*GREY_MODES, "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
UNKNOWN_MODES = {"F": "floats", "I": "integers of 32 bits or with a sign", "LAB": "CIE Lab"}
DARKEST_WHITE = 16  # of 255; what 12 bits reach in a file of 16
ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # what whole files end with
LAST = 16  # bytes in which it may be, where zeros follow
TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_SAMPLE_FORMAT = 258, 262, 339


class PictureError(ValueError):
    """A picture that cannot be read rightly: says which, what was found and what to do."""


class PictureReader:
    """Reads pictures one by one, and counts what had to be decided for them."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._first: dict[str, object] = {}
        self._brightest_of_16_bits = 0

    def read(self, content: bytes, label: object, mode: str | None = None) -> Image.Image:
        """The picture in a file.

        Parameters
        ----------
        content : bytes
        label : Path or str
            Names the file in errors and warnings.
        mode : {"L", "RGB"}, optional
            Grey, by ITU-R 601 luma, or colour; by default as the file is.

        Raises
        ------
        PictureError
            If it cannot be decoded, or black and white are not known.
        """
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                return self._read(opened, label, mode)
        except PictureError:
            raise
        except Image.DecompressionBombError as error:
            raise PictureError(f"{label}: is too large ({error}); make it smaller") from error
        except Exception as error:  # damaged bytes make Pillow's decoders raise nearly anything
            said: object = error
            if isinstance(error, Image.UnidentifiedImageError):  # TIFF of 64 bits, for instance
                said = "it is damaged, or keeps its pixels in a way that is not known here"
            remedy = "replace or remove this image, or save it as PNG"
            why = why_unreadable(content, said, remedy, expected="^one picture")
            raise PictureError(f"{label}: cannot be decoded: {why}") from error

    def check(self, content: bytes, label: object) -> None:
        """Refuse what is no whole picture, decoding only where its ends do not tell.

        JPEG and PNG files begin and end with marks of their own, so that one that was cut short, or
        is none, is found at a hundredth of what decoding costs. Damage in the middle is not.

        Parameters
        ----------
        content : bytes
        label : Path or str
            Names the file in errors and warnings.

        Raises
        ------
        PictureError
            As of :meth:`read`.
        """
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                end = ENDS.get(opened.format or "", b"")
                if end and end in content[-LAST:] and opened.mode in MODES:
                    return
        except Exception:  # which one, and what to do, is said by reading it
            pass
        self.read(content, label)

    def warn_of_decisions(self, place: Path | str) -> None:
        """Warn of all that was decided for the pictures read so far, by count and first example.

        Raises
        ------
        PictureError
            If all pictures of 16 bits are as dark as if they held 12 bits or fewer.
        """
        if 0 < self._brightest_of_16_bits < DARKEST_WHITE:
            n, first = self._counts[_DEEP], self._first[_DEEP]
            raise PictureError(
                f"{place}: {n} pictures of 16 bits, such as {first}, have no value above "
                f"{self._brightest_of_16_bits * 256 + 255:,} of 65,535, as a camera of 12 bits "
                "leaves them; they would be black: multiply their values so that white is 65,535"
            )
        for what, n in self._counts.items():
            note(f"{place}: {n} pictures {what}, such as {self._first[what]}")

    def _count(self, what: str, label: object) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1
        self._first.setdefault(what, label)

    def _read(self, opened: Any, label: object, mode: str | None) -> Image.Image:
        if opened.format in SEVERAL_FRAMES and getattr(opened, "n_frames", 1) > 1:
            self._count(_FRAMES, label)
        deep = opened.format in ("PNG", "TIFF") and _is_of_16_bits(opened)
        opened.load()
        if not ORIENTATION_IN.isdisjoint(opened.info):
            as_stored = opened.im
            ImageOps.exif_transpose(opened, in_place=True)
            if opened.im is not as_stored:
                self._count(_TURNED, label)
        picture, grey = opened, opened.mode in GREY_MODES
        values = _values_of_16_bits(opened)
        if values is not None:
            picture, grey, deep = _of_16_bits(opened, values), True, True
        elif opened.mode not in MODES or _has_sign(opened):
            raise PictureError(
                f"{label}: has pixels of mode {opened.mode} "
                f"({UNKNOWN_MODES.get(opened.mode, 'values with a sign')}), of which black and "
                "white are not known; save it with 8 or 16 bits a channel, such as by "
                "Image.fromarray((255 * pixels).round().astype('uint8')) for pixels from 0 to 1"
            )
        if picture.mode == "CMYK":
            self._count(_CMYK, label)
        if picture.mode not in ("L", "RGB") or "transparency" in picture.info:
            picture = self._on_grey(picture, label)
        if deep:
            self._count(_DEEP, label)
            brightest = np.asarray(picture.convert("RGB")).max(initial=1)
            self._brightest_of_16_bits = max(self._brightest_of_16_bits, int(brightest))
        return picture.convert(mode or ("L" if grey else "RGB"))

    def _on_grey(self, picture: Image.Image, label: object) -> Image.Image:
        """A picture whose transparent parts, if it has any, show mid-grey."""
        if not picture.has_transparency_data:
            return picture
        straight = {"La": "LA", "RGBa": "RGBA"}.get(picture.mode, picture.mode)
        whole = picture.convert(straight).convert("RGBA")
        if whole.getchannel("A").getextrema() == (255, 255):
            return whole.convert("RGB")
        self._count(_TRANSPARENT, label)
        ground = Image.new("RGBA", whole.size, (MID_GREY, MID_GREY, MID_GREY, 255))
        return Image.alpha_composite(ground, whole).convert("RGB")


_DEEP = "have 16 bits a channel, of which the upper 8 are kept"
_FRAMES = "are the first of several frames or pages in a file"
_TURNED = "were turned upright, as their EXIF orientation says"
_TRANSPARENT = f"have transparent parts, which show mid-grey ({MID_GREY})"
_CMYK = "are in CMYK and were taken to RGB without a colour profile"


def _is_of_16_bits(opened: Any) -> bool:
    """By the way in which Pillow is about to unpack it."""
    arguments = [tile[3] for tile in opened.tile]
    return any(";16" in (a if isinstance(a, str) else str(a[0])) for a in arguments)


def _values_of_16_bits(opened: Any) -> NDArray[np.integer] | None:
    """Values from 0 to 65,535 of a grey picture that has more than 8 bits."""
    if opened.mode.startswith("I;16"):
        values = np.asarray(opened).astype(np.uint16)
        if opened.format == "TIFF":
            values <<= 16 - opened.tag_v2.get(TIFF_BITS, (16,))[0]
            if opened.tag_v2.get(TIFF_PHOTOMETRIC) == 0:  # white is 0, which Pillow leaves to us
                values = ~values
        return values
    # Pillow before 11.1 reads such PNG files so, and all versions PGM files.
    return np.asarray(opened) if opened.mode == "I" and opened.format in ("PNG", "PPM") else None


def _of_16_bits(opened: Any, values: NDArray[np.integer]) -> Image.Image:
    picture = Image.fromarray((values >> 8).astype(np.uint8))
    clear = opened.info.get("transparency")  # the value of pixels that are transparent
    if clear is not None:
        picture.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return picture


def _has_sign(opened: Any) -> bool:
    return opened.format == "TIFF" and 2 in opened.tag_v2.get(TIFF_SAMPLE_FORMAT, ())
