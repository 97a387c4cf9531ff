"""Tensors: dims that overflow, data that does not fit its dims, types that lie."""
from proto import (BOOL, DOUBLE, FLOAT, INT8, INT64, data, fixed32, float_tensor, floats, graph,
                   info, longs, model, node, number, tensor)


def with_tensor(message):
    return model(graph([node("Add", ["x", "w"], ["y"])], [message], [info("x", (2, 3))],
                       [info("y", (2, 3))]))


def add(w):
    raw = floats(*range(6))
    w.case("dims_overflow.onnx", with_tensor(tensor("w", [1 << 40, 1 << 40, 1 << 40], FLOAT, raw)),
           "FORMAT", "overflow")
    w.case("dims_overflow_by_type.onnx", with_tensor(tensor("w", [(1 << 62) - 1], INT64, raw)),
           ["FORMAT", "LIMIT"], "'w'")
    w.case("dims_zero_times_huge.onnx",
           with_tensor(tensor("w", [0, 1 << 62, 1 << 62], FLOAT, b"")), "FORMAT", "overflow")
    w.case("dims_negative.onnx", with_tensor(tensor("w", [-2, -3], FLOAT, raw)), "FORMAT",
           "negative")
    w.case("dims_minus_2_63.onnx", with_tensor(tensor("w", [-(1 << 63)], FLOAT, raw)), "FORMAT",
           "negative")
    w.case("dims_over_limit.onnx", with_tensor(tensor("w", [1 << 33], FLOAT, raw)), "LIMIT",
           "tensor_bytes")
    w.case("dims_over_limit_no_data.onnx", with_tensor(tensor("w", [1 << 33], FLOAT)), "LIMIT",
           "tensor_bytes")
    w.case("rank_9.onnx", with_tensor(tensor("w", [1] * 9, FLOAT, floats(1))), "UNSUPPORTED",
           "9 dims")
    w.case("rank_million.onnx", with_tensor(data(1, b"\x01" * 1000000) +
                                           tensor("w", [], FLOAT, raw)),
           "UNSUPPORTED", "1000000 dims")
    w.case("input_rank_9.onnx",
           model(graph([node("Relu", ["x"], ["y"])], [], [info("x", [1] * 9)], [info("y")])),
           "UNSUPPORTED", "dims")
    w.case("input_dim_negative.onnx",
           model(graph([node("Relu", ["x"], ["y"])], [], [info("x", [1, -7])], [info("y")])),
           "FORMAT", "negative")
    w.case("raw_too_short.onnx", with_tensor(tensor("w", [2, 3], FLOAT, raw[:-1])), "FORMAT",
           "23 bytes")
    w.case("raw_too_long.onnx", with_tensor(tensor("w", [2, 3], FLOAT, raw + b"\0")), "FORMAT",
           "25 bytes")
    w.case("raw_empty.onnx", with_tensor(tensor("w", [2, 3], FLOAT, b"")), "FORMAT", "0 bytes")
    w.case("no_data.onnx", with_tensor(tensor("w", [2, 3], FLOAT)), "FORMAT", "0 elements")
    w.case("typed_too_few.onnx", with_tensor(tensor("w", [2, 3], FLOAT, None, data(4, raw[:20]))),
           "FORMAT", "5 elements")
    w.case("typed_ends_inside.onnx",
           with_tensor(tensor("w", [2, 3], FLOAT, None, data(4, raw[:23]))), "FORMAT",
           "inside a number")
    w.case("typed_unpacked_too_many.onnx",
           with_tensor(tensor("w", [2], FLOAT, None, fixed32(4, 1.0) * 3)), "FORMAT", "3 elements")
    w.case("typed_of_other_type.onnx",
           with_tensor(tensor("w", [2], FLOAT, None, number(7, 1) + number(7, 2))), "FORMAT",
           "another type")
    w.case("typed_varint_cut.onnx",
           with_tensor(tensor("w", [2], INT64, None, data(7, b"\x01\xff"))),
           "FORMAT", "does not end")
    w.case("raw_and_typed.onnx", with_tensor(tensor("w", [2, 3], FLOAT, raw, data(4, raw))),
           "FORMAT", "raw_data and typed data")
    w.case("int8_out_of_range.onnx",
           with_tensor(tensor("w", [2], INT8, None, number(5, 1) + number(5, 300))), "FORMAT",
           "300")
    w.case("bool_of_2.onnx", with_tensor(tensor("w", [1], BOOL, None, number(5, 2))), "FORMAT",
           "is no bool")
    w.case("type_missing.onnx", with_tensor(number(1, 1) + data(8, "w") + data(9, floats(1))),
           "FORMAT", "no data type")
    w.case("type_double.onnx", with_tensor(tensor("w", [2, 3], DOUBLE, bytes(48))),
           ["FORMAT", "UNSUPPORTED"], "", "build")
    w.case("type_99.onnx", with_tensor(tensor("w", [2, 3], 99, bytes(48))),
           ["FORMAT", "UNSUPPORTED"], "", "build")
    w.case("segment.onnx", with_tensor(tensor("w", [2, 3], FLOAT, raw, data(3, number(1, 0)))),
           "UNSUPPORTED", "segments")
    w.case("location_7.onnx", with_tensor(tensor("w", [2, 3], FLOAT, raw, number(14, 7))), "FORMAT",
           "data_location 7")
    sparse = (data(1, tensor("w", [1], FLOAT, floats(1))) +
              data(2, tensor("i", [1], INT64, longs(0))))
    w.case("sparse_initializer.onnx",
           model(graph([node("Add", ["x", "w"], ["y"])], [], [info("x")], [info("y")],
                       data(15, sparse))), "UNSUPPORTED", "sparse")
    w.case("initializer_unnamed.onnx",
           model(graph([node("Relu", ["x"], ["y"])], [float_tensor("", [1])], [info("x")],
                       [info("y")])), "FORMAT", "no name")
