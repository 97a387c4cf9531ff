"""Files that are not protobuf, or not whole, or lie about themselves at the level of the model."""
import random

from proto import (attr_int, data, float_tensor, graph, info, model, node, number, opset, varint)


def good_graph():
    return graph([node("Relu", ["x"], ["y"], name="relu")], [], [info("x", (1, 3))],
                 [info("y", (1, 3))])


def good_model():
    return model(good_graph())


def add(w):
    w.case("good.onnx", good_model(), "OK")
    w.case("empty.onnx", b"", "FORMAT", "empty")
    w.case("text.onnx", b"this is not a model, it is a text\n", "FORMAT")
    w.case("html.onnx", b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n", "FORMAT")
    w.case("png.onnx", b"\x89PNG\r\n\x1a\n" + bytes(64), "FORMAT")
    w.case("lfs.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
           "FORMAT", "LFS")
    rng = random.Random(1)
    for i in range(6):
        w.case(f"random_{i}.onnx", rng.randbytes(1 << (2 * i + 4)), "FORMAT")
    # The graph comes last in the file, so that every cut falls into it.
    whole = model(graph([node("Add", ["x", "w"], ["y"])], [float_tensor("w", [8, 8])],
                        [info("x", (8, 8))], [info("y", (8, 8))]))
    for percent in (10, 25, 50, 75, 90, 99):
        w.case(f"cut_{percent}.onnx", whole[:len(whole) * percent // 100], "FORMAT")
    w.case("cut_last_byte.onnx", whole[:-1], "FORMAT", "past its end")
    head = number(1, 8) + opset(17)
    w.case("group.onnx", head + varint(7 << 3 | 3) + varint(7 << 3 | 4), "FORMAT", "wire type 3")
    w.case("wire_type_7.onnx", head + varint(7 << 3 | 7), "FORMAT", "wire type 7")
    w.case("field_0.onnx", head + b"\x00\x00", "FORMAT", "tag")
    w.case("field_too_large.onnx", head + b"\xff" * 9 + b"\x01", "FORMAT", "tag")
    w.case("varint_11_bytes.onnx", b"\x08" + b"\xff" * 10 + b"\x01", "FORMAT", "does not end")
    w.case("varint_over_64_bits.onnx", b"\x08" + b"\xff" * 9 + b"\x02", "FORMAT", "does not end")
    w.case("varint_cut.onnx", b"\x08\xff\xff", "FORMAT", "does not end")
    w.case("length_2_63.onnx", head + b"\x3a" + varint(1 << 63), "FORMAT", "past its end")
    w.case("length_one_more.onnx", head + b"\x3a" + varint(len(good_graph()) + 1) + good_graph(),
           "FORMAT", "past its end")
    w.case("graph_as_number.onnx", head + number(7, 1), "FORMAT", "wire type")
    w.case("node_as_number.onnx", model(good_graph() + number(1, 5)), "FORMAT", "wire type")
    w.case("name_as_number.onnx",
           model(graph([number(3, 1) + node("Relu", ["x"], ["y"])], [], [info("x")],
                       [info("y")])), "FORMAT", "wire type")
    w.case("name_not_utf8.onnx",
           model(graph([node("Relu", ["x"], [b"\xc3\x28"])], [], [info("x")], [info("y")])),
           "FORMAT", "UTF-8")
    w.case("name_with_zero.onnx",
           model(graph([node("Relu", ["x"], [b"y\0z"])], [], [info("x")], [info("y")])),
           "FORMAT", "UTF-8")
    w.case("name_with_newline.onnx",
           model(graph([node("Relu", ["x"], ["y"], name="a\nosprey: b"),
                        node("Relu", ["nothing\n\x1b[31m"], ["z"], name="c\r\nd")], [],
                       [info("x")], [info("z")])), "FORMAT", "nothing makes")
    w.case("name_too_long.onnx",
           model(graph([node("Relu", ["x"], ["y" * 70000])], [], [info("x")], [info("y")])),
           "LIMIT", "text of 70000 bytes")
    w.case("no_graph.onnx", head, "FORMAT", "no graph")
    w.case("two_graphs.onnx", model(good_graph()) + data(7, good_graph()), "FORMAT", "two graphs")
    w.case("ir_version_0.onnx", model(good_graph(), ir=0), "FORMAT", "IR version")
    w.case("ir_version_negative.onnx", model(good_graph(), ir=-5), "FORMAT", "IR version")
    w.case("metadata_flood.onnx", model(good_graph(), extra=data(14, b"") * 100000), "LIMIT",
           "metadata")
    w.case("no_opset.onnx", model(good_graph(), version=None), "FORMAT", "operator set")
    w.case("opset_0.onnx", model(good_graph(), version=0), "FORMAT", "operator set 0")
    w.case("opset_negative.onnx", model(good_graph(), version=-1), "FORMAT", "operator set -1")
    w.case("opset_5.onnx", model(good_graph(), version=5), "UNSUPPORTED", "operator set 5")
    w.case("opset_999.onnx", model(good_graph(), version=999), "UNSUPPORTED", "operator set 999")
    w.case("opset_2_40.onnx", model(good_graph(), version=1 << 40), "FORMAT", "operator set")
    w.case("two_opsets.onnx", model(good_graph(), extra=opset(11)), "FORMAT", "operator sets")
    function = data(1, "Relu") + data(4, "x") + data(5, "y") + data(7, node("Abs", ["x"], ["y"]))
    w.case("function_redefines.onnx", model(good_graph(), extra=data(25, function)),
           "UNSUPPORTED", "function")
    w.case("subgraph_malformed.onnx",
           model(graph([node("If", ["x"], ["y"],
                             data(5, data(1, "then_branch") + data(6, b"\x0a\x05\x01") +
                                  number(20, 5)) + attr_int("k", 1))], [], [info("x")],
                       [info("y")])), "FORMAT", "past its end")
