"""A minimal protobuf writer for ONNX messages, standard library only.

Every builder returns the bytes of a message's contents and checks nothing: hostile files are the
point.
"""
import struct

FLOAT, UINT8, INT8, INT32, INT64, BOOL, FLOAT16, DOUBLE = 1, 2, 3, 6, 7, 9, 10, 11


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def data(field, payload):
    payload = payload.encode() if isinstance(payload, str) else payload
    return varint(field << 3 | 2) + varint(len(payload)) + payload


def fixed32(field, value):
    return varint(field << 3 | 5) + struct.pack("<f", value)


def many(field, payloads):
    return b"".join(data(field, p) for p in payloads)


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def longs(*values):
    return struct.pack(f"<{len(values)}q", *values)


def tensor(name, dims, elem=FLOAT, raw=None, extra=b""):
    """`raw` None: no raw_data at all."""
    return (b"".join(number(1, d) for d in dims) + number(2, elem) + data(8, name) +
            (b"" if raw is None else data(9, raw)) + extra)


def long_tensor(name, values):
    return tensor(name, [len(values)], INT64, longs(*values))


def scalar_long(name, value):
    return tensor(name, [], INT64, longs(value))


def float_tensor(name, dims, value=1.0):
    count = 1
    for d in dims:
        count *= d
    return tensor(name, dims, FLOAT, floats(value) * count)


def external(name, dims, location, elem=FLOAT, **entries):
    pairs = {} if location is None else {"location": location}
    pairs.update(entries)
    rows = many(13, [data(1, k) + data(2, str(v)) for k, v in pairs.items()])
    return tensor(name, dims, elem, None, rows + number(14, 1))


def attr_int(name, value):
    return data(5, data(1, name) + number(3, value) + number(20, 2))


def attr_ints(name, values):
    return data(5, data(1, name) + b"".join(number(8, v) for v in values) + number(20, 7))


def attr_float(name, value):
    return data(5, data(1, name) + fixed32(2, value) + number(20, 1))


def attr_text(name, value):
    return data(5, data(1, name) + data(4, value) + number(20, 3))


def attr_tensor(name, message):
    return data(5, data(1, name) + data(5, message) + number(20, 4))


def attr_graph(name, message):
    return data(5, data(1, name) + data(6, message) + number(20, 5))


def node(op, inputs, outputs, attributes=b"", name="bad", domain=""):
    return (many(1, inputs) + many(2, outputs) + data(3, name) + data(4, op) + attributes +
            (data(7, domain) if domain else b""))


def info(name, dims=(1,), elem=FLOAT):
    shape = many(1, [data(2, d) if isinstance(d, str) else number(1, d) for d in dims])
    return data(1, name) + data(2, data(1, number(1, elem) + data(2, shape)))


def graph(nodes, initializers=(), inputs=(), outputs=(), extra=b""):
    return (many(1, nodes) + data(2, "g") + many(5, initializers) + many(11, inputs) +
            many(12, outputs) + extra)


def opset(version, domain=""):
    return data(8, data(1, domain) + number(2, version))


def model(graph_message, version=17, ir=8, extra=b""):
    """`version` None: no operator set."""
    return (number(1, ir) + (b"" if version is None else opset(version)) + extra +
            data(7, graph_message))
