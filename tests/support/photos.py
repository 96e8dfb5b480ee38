"""Photos as phones take them: large JPEGs, turned on their side, with place and camera data in them."""

import struct
from pathlib import Path

from playwright.sync_api import Page

DRAW = """async ([width, height]) => {
    const canvas = new OffscreenCanvas(width, height);
    const drawing = canvas.getContext("2d");
    drawing.fillStyle = "#fff";
    drawing.fillRect(0, 0, width, height);
    drawing.fillStyle = "#c00";
    drawing.fillRect(0, 0, width / 2, height / 2);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
    return Array.from(new Uint8Array(await blob.arrayBuffer()));
}"""
CAMERA = b"Cellar Cam 3\0"
ON_ITS_SIDE = 6
START = b"\xff\xd8"


def photo(page: Page, path: Path, *, width: int, height: int) -> Path:
    """Write a JPEG of this size, with EXIF that names a camera and says that the picture is to be turned."""
    drawn = bytes(page.evaluate(DRAW, [width, height]))
    assert drawn.startswith(START)
    path.write_bytes(START + _exif() + drawn[2:])
    return path


def _exif() -> bytes:
    entries = 2
    after = 8 + 2 + 12 * entries + 4
    camera = struct.pack(">HHII", 0x0110, 2, len(CAMERA), after)
    turned = struct.pack(">HHIHH", 0x0112, 3, 1, ON_ITS_SIDE, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, entries) + camera + turned + struct.pack(">I", 0) + CAMERA
    content = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content


def size_of(jpeg: bytes) -> tuple[int, int]:
    """Width and height as the frame header says."""
    at = 2
    while True:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xC2:
            height, width = struct.unpack(">HH", jpeg[at + 5 : at + 9])
            return width, height
        at += 2 + length
