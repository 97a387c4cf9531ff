"""Broken input files of a good model: tensors as .npy and .pb, pictures as PNG and JPEG."""
import random
import struct
import zlib

from proto import DOUBLE, FLOAT, data, external, floats, number, tensor


def npy(header, payload=b"", version=1):
    text = header if isinstance(header, bytes) else header.encode()
    size = struct.pack("<H", len(text)) if version == 1 else struct.pack("<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + payload


def header(descr="'<f4'", fortran="False", shape="(1, 3)"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


def add_npy(w):
    payload = floats(1, 2, 3)

    def case(name, content, status="FORMAT", contains=""):
        w.case(name, content, status, contains, "tensor")

    case("good.npy", npy(header(), payload), "OK")
    case("empty.npy", b"")
    case("magic_only.npy", b"\x93NUMPY")
    case("header_cut.npy", npy(header(), payload)[:20], "FORMAT", "cut short")
    case("version_9.npy", npy(header(), payload, 9), "UNSUPPORTED", "version 9")
    case("header_4gib.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "LIMIT", "header")
    case("data_short.npy", npy(header(), payload[:-1]), "FORMAT", "11 bytes")
    case("data_long.npy", npy(header(), payload + b"\0"), "FORMAT", "13 bytes")
    case("shape_overflow.npy", npy(header(shape="(4294967296, 4294967296, 4294967296)"), payload),
         "FORMAT", "overflow")
    case("shape_huge_number.npy", npy(header(shape="(99999999999999999999999, 1)"), payload))
    case("shape_over_limit.npy", npy(header(shape="(8589934592,)"), payload), "LIMIT",
         "tensor_bytes")
    case("shape_negative.npy", npy(header(shape="(-1, 3)"), payload))
    case("shape_text.npy", npy(header(shape="('a',)"), payload))
    case("shape_open.npy", npy(header(shape="(1, 3"), payload))
    case("rank_40.npy", npy(header(shape="(" + "1, " * 39 + "3)"), payload), "UNSUPPORTED", "dims")
    case("big_endian.npy", npy(header("'>f4'"), payload), "UNSUPPORTED", "big endian")
    case("double.npy", npy(header("'<f8'"), payload * 2), "UNSUPPORTED", "<f8")
    case("object.npy", npy(header("'|O'"), payload), "UNSUPPORTED", "|O")
    case("structured.npy", npy(header("[('a', '<f4')]"), payload), "UNSUPPORTED", "[...]")
    case("header_code.npy", npy("__import__('os').system('true')\n", payload))
    case("header_nested.npy", npy("{" * 60000, payload))
    case("header_no_shape.npy", npy("{'descr': '<f4', 'fortran_order': False}", payload))
    case("header_garbage.npy", npy(random.Random(2).randbytes(500), payload))
    case("zip.npz", b"PK\3\4" + bytes(60), "UNSUPPORTED", ".npz")
    case("text.npy", b"1.0, 2.0, 3.0\n")


def add_pb(w):
    def case(name, content, status="FORMAT", contains=""):
        w.case(name, content, status, contains, "tensor")

    good = tensor("x", [1, 3], FLOAT, floats(1, 2, 3))
    case("good.pb", good, "OK")
    case("cut.pb", good[:-1], "FORMAT", "past its end")
    case("short.pb", tensor("x", [1, 4], FLOAT, floats(1, 2, 3)), "FORMAT", "12 bytes")
    case("overflow.pb", tensor("x", [1 << 62, 1 << 62], FLOAT, b""), "FORMAT", "overflow")
    case("negative.pb", tensor("x", [-1, 3], FLOAT, floats(1, 2, 3)), "FORMAT", "negative")
    case("over_limit.pb", tensor("x", [1 << 40], FLOAT, b""), "LIMIT", "tensor_bytes")
    case("double.pb", tensor("x", [1, 3], DOUBLE, bytes(24)), "UNSUPPORTED", "double")
    case("no_type.pb", number(1, 1), "FORMAT", "no data type")
    case("external.pb", external("x", [1, 3], "weights.bin"), "UNSUPPORTED", "another file")
    case("group.pb", good + b"\x53\x54", "FORMAT", "wire type")
    case("random.pb", random.Random(3).randbytes(1000))
    case("name_long.pb", good + data(8, "n" * 70000), "LIMIT", "70000")


def png(width, height, rows, depth=8, kind=2, extra=b"", end=True, bad_crc=False):
    def chunk(name, payload):
        crc = zlib.crc32(name + payload) ^ (1 if bad_crc else 0)
        return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", crc)

    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)) + extra +
            chunk(b"IDAT", zlib.compress(rows)) + (chunk(b"IEND", b"") if end else b""))


def add_images(w):
    any_status = ["FORMAT", "CORRUPT", "UNSUPPORTED", "LIMIT"]

    def case(name, content, status=None):
        w.case(name, content, status or any_status, "", "image")

    rows = (b"\0" + bytes(range(24))) * 8
    good = png(8, 8, rows)
    case("good.png", good, "OK")
    case("empty.png", b"")
    case("magic.png", good[:8])
    case("header_cut.png", good[:20])
    case("data_cut.png", good[:len(good) // 2])
    case("crc.png", png(8, 8, rows, bad_crc=True))
    case("size_0.png", png(0, 8, rows))
    case("size_bomb.png", png(0x7FFFFFFF, 0x7FFFFFFF, rows))
    case("pixels_over_limit.png", png(60000, 60000, rows))
    case("depth_3.png", png(8, 8, rows, depth=3))
    case("rows_missing.png", png(8, 8, rows[:50]))
    case("filter_9.png", png(8, 8, (b"\x09" + bytes(24)) * 8))
    case("no_zlib.png", good.replace(b"IDAT", b"iDAT"))
    soi, eoi = b"\xff\xd8", b"\xff\xd9"
    sof = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 8, 8) + b"\x03\x01\x11\0\x02\x11\0\x03\x11\0"
    case("empty.jpg", b"")
    case("only_magic.jpg", soi)
    case("no_scan.jpg", soi + sof + eoi)
    case("no_header.jpg", soi + eoi)
    case("bomb.jpg", soi + sof.replace(struct.pack(">HH", 8, 8), b"\xff\xff\xff\xff") + eoi)
    case("size_0.jpg", soi + sof.replace(struct.pack(">HH", 8, 8), b"\0\0\0\0") + eoi)
    case("garbage.jpg", soi + b"\xff\xe0\x00\x10JFIF\0" + random.Random(4).randbytes(4000))
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 0xFFFFFFF0)
    case("exif_offset.jpg", soi + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + eoi)
    case("gif.jpg", b"GIF89a" + bytes(32), ["UNSUPPORTED"])
    case("webp.png", b"RIFF\x20\0\0\0WEBPVP8 " + bytes(32), ["UNSUPPORTED"])
    case("text.jpg", b"not a picture\n")


def add(w):
    add_npy(w)
    add_pb(w)
    add_images(w)
