"""Image files reduced to what their pixels need: without text, EXIF data, colour profiles and further pictures."""

import struct

PNG = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
WEBP_PIXELS = {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"}
WEBP_FLAGS = 0x12  # transparency, animation
# APP1 (EXIF, XMP), APP2 to APP13, APP15 and comments; APP0 (JFIF) and APP14 (Adobe) determine how colours are stored
JPEG_METADATA = {*range(0xE1, 0xEE), 0xEF, 0xFE}
# Tags of sizes, colour storage, compression, orientation, offsets of strips or tiles, palette, tables
TIFF_PIXELS = {
    256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339,
    347, 529, 530, 531, 532,
}  # fmt: skip
# First bytes -> byte order, struct formats of the number of tags, of a tag and of an offset, position of the offset
TIFFS = {
    b"II*\0": ("<", "H", "HHI4s", "I", 4),
    b"MM\0*": (">", "H", "HHI4s", "I", 4),
    b"II+\0": ("<", "Q", "HHQ8s", "Q", 8),
    b"MM\0+": (">", "Q", "HHQ8s", "Q", 8),
}
ORIENTATION, SHORT = 274, 3


def without_metadata(data: bytes) -> bytes | None:
    """A PNG, JPEG, WebP or TIFF file reduced to what its pixels need; None where there is nothing to remove, or the
    bytes are of another format.

    Text, EXIF data and colour profiles are dropped unread; the rest is unchanged, checksums included, so that damaged
    pixels stay damaged. Transparency, palette and a JPEG's colour transform are kept, and the first picture of a TIFF.
    """
    if data.startswith(PNG):
        return _kept_of_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _kept_of_webp(data)
    if data[:4] in TIFFS:
        return _kept_of_tiff(data)
    return _kept_of_jpeg(data) if data.startswith(b"\xff\xd8") else None


def _kept_of_png(data: bytes) -> bytes | None:
    parts, place = [PNG], len(PNG)
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind in PNG_PIXELS:
            parts.append(data[place : place + 12 + length])
        place += 12 + length
        if kind == b"IEND":
            break
    bare = b"".join(parts)
    return bare if len(bare) < len(data) else None


def _kept_of_jpeg(data: bytes) -> bytes | None:
    parts, place = [data[:2]], 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        if data[place + 1] == 0xFF:  # a fill byte
            place += 1
            continue
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if marker == 0xDA or length < 2:  # start of scan: pixels follow
            break
        if marker not in JPEG_METADATA:
            parts.append(data[place : place + 2 + length])
        place += 2 + length
    bare = b"".join([*parts, data[place:]])
    return bare if len(bare) < len(data) else None


def _kept_of_webp(data: bytes) -> bytes | None:
    parts, place = [], 12
    while place + 8 <= len(data):
        kind, length = struct.unpack("<4sI", data[place : place + 8])
        part = data[place : place + 8 + length + length % 2]
        if kind == b"VP8X":  # its flags list the chunks in the file
            part = part[:8] + bytes([part[8] & WEBP_FLAGS]) + part[9:] if len(part) > 8 else b""
        if kind in WEBP_PIXELS:
            parts.append(part)
        place += 8 + length + length % 2
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body if parts else None


def _kept_of_tiff(data: bytes) -> bytes | None:
    order, number, entry, place, at = TIFFS[data[:4]]
    try:
        (start,) = struct.unpack_from(order + place, data, at)
        (count,) = struct.unpack_from(order + number, data, start)
        first, size = start + struct.calcsize(order + number), struct.calcsize(order + entry)
        tags = [struct.unpack_from(order + entry, data, first + i * size) for i in range(min(count, 1000))]
    except struct.error:  # truncated
        return None
    kept = [tag for tag in tags if tag[0] in TIFF_PIXELS and (tag[0] != ORIENTATION or tag[1:3] == (SHORT, 1))]
    parts = [struct.pack(order + number, len(kept)), *(struct.pack(order + entry, *tag) for tag in kept)]
    parts.append(struct.pack(order + place, 0))  # no further picture
    whole = data + b"\0" * (len(data) % 2)
    head = whole[:at] + struct.pack(order + place, len(whole)) + whole[at + struct.calcsize(order + place) :]
    return head + b"".join(parts)
