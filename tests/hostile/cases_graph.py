"""Graphs: cycles, names made twice or never, floods of nodes, nesting; and attributes."""
from proto import (INT64, attr_float, attr_int, attr_ints, attr_text, data, float_tensor, graph,
                   info, long_tensor, model, node, number, opset, tensor, varint)

X, Y = [info("x", (1, 3))], [info("y", (1, 3))]


def chain(nodes, initializers=(), inputs=None, outputs=None, **options):
    return model(graph(nodes, initializers, inputs or X, outputs or Y), **options)


def nested(levels, wrap, core):
    """`wrap` gives (before, after) for a body's length; built from the inside, in linear time."""
    front, back, length = [], [], len(core)
    for _ in range(levels):
        before, after = wrap(length)
        front.append(before)
        back.append(after)
        length += len(before) + len(after)
    return b"".join(reversed(front)) + core + b"".join(back)


def in_graph(length):
    """graph { node { attribute { g: <body> } } } around a graph's body."""
    g = varint(6 << 3 | 2) + varint(length)
    a_tail = number(20, 5)
    a_head = data(1, "body") + g
    a = varint(5 << 3 | 2) + varint(len(a_head) + length + len(a_tail)) + a_head
    n_head = data(4, "Loop") + data(2, "y")
    n = varint(1 << 3 | 2) + varint(len(n_head) + len(a) + length + len(a_tail)) + n_head + a
    return n, a_tail


def in_sequence(length):
    """TypeProto { sequence { elem_type: <body> } }"""
    inner = varint(1 << 3 | 2) + varint(length)
    return varint(4 << 3 | 2) + varint(len(inner) + length) + inner, b""


def add_names(w):
    relu = node("Relu", ["x"], ["y"])
    w.case("cycle_of_two.onnx",
           chain([node("Add", ["x", "b"], ["a"], name="first"),
                  node("Relu", ["a"], ["b"], name="second"), node("Relu", ["b"], ["y"])]),
           "FORMAT", "cycle")
    w.case("cycle_of_one.onnx", chain([node("Add", ["x", "y"], ["y"])]), "FORMAT", "cycle")
    ring = [node("Relu", [f"v{i}"], [f"v{(i + 1) % 5000}"], name=f"n{i}") for i in range(5000)]
    w.case("cycle_of_5000.onnx", chain(ring + [node("Relu", ["v7"], ["y"])]), "FORMAT", "cycle")
    w.case("made_twice.onnx", chain([relu, node("Exp", ["x"], ["y"], name="again")]), "FORMAT",
           "made twice")
    w.case("made_twice_by_one.onnx", chain([node("Split", ["x"], ["y", "y"])]), "FORMAT",
           "made twice")
    w.case("initializer_twice.onnx",
           chain([node("Add", ["x", "w"], ["y"])], [float_tensor("w", [3])] * 2), "FORMAT",
           "made twice")
    w.case("initializer_shadows.onnx", chain([relu], [float_tensor("y", [1, 3])]), "FORMAT",
           "made twice")
    w.case("input_shadows.onnx", chain([node("Relu", ["x"], ["x"]), relu]), "FORMAT", "made twice")
    w.case("input_twice.onnx", chain([relu], [], X + X), "FORMAT", "made twice")
    w.case("input_unnamed.onnx", chain([relu], [], X + [info("")]), "FORMAT", "no name")
    w.case("input_missing.onnx", chain([node("Relu", ["ghost"], ["y"], name="lonely")]), "FORMAT",
           "'ghost'")
    w.case("output_missing.onnx", chain([node("Relu", ["x"], ["z"])]), "FORMAT", "'y'")
    w.case("output_twice.onnx", chain([relu], [], None, Y + Y), "FORMAT", "listed twice")
    w.case("no_outputs.onnx", model(graph([relu], [], X, [])), "FORMAT", "no outputs")
    w.case("no_operator.onnx", chain([node("", ["x"], ["y"], name="nameless")]), "FORMAT",
           "no operator")
    w.case("too_few_inputs.onnx", chain([node("Add", ["x"], ["y"])]), "FORMAT", "inputs")
    w.case("too_many_inputs.onnx", chain([node("Relu", ["x", "x"], ["y"])]), "FORMAT", "inputs")
    w.case("input_left_out.onnx", chain([node("Add", ["x", ""], ["y"])]), "FORMAT", "leaves out")
    w.case("too_many_outputs.onnx", chain([node("Relu", ["x"], ["y", "z"])]), "FORMAT", "outputs")
    w.case("unknown_operator.onnx", chain([node("Frobnicate", ["x"], ["y"], name="frob")]),
           "UNSUPPORTED", "Frobnicate", "build")
    w.case("foreign_domain.onnx", chain([node("Relu", ["x"], ["y"], domain="com.example")],
                                        extra=opset(1, "com.example")),
           "UNSUPPORTED", "Relu", "build")
    w.case("our_own_domain.onnx", chain([node("Silu", ["x"], ["y"], domain="osprey")],
                                        extra=opset(1, "osprey")), "UNSUPPORTED", "Silu", "build")


def add_floods(w):
    million = 1000000
    w.case("million_nodes.onnx",
           model(number(1, 0) + data(1, node("Relu", ["x"], [""], name="")) * million +
                 many_outputs()), "LIMIT", "nodes")
    w.case("million_empty_nodes.onnx", model(data(1, b"") * million), "LIMIT", "nodes")
    w.case("million_initializers.onnx", model(data(5, b"") * million), "LIMIT", "values")
    w.case("million_inputs.onnx", model(data(11, b"") * million), "LIMIT", "values")
    w.case("million_outputs.onnx",
           model(graph([node("Relu", ["x"], ["y"])], [], X, []) + data(12, data(1, "y")) * million),
           "FORMAT", "outputs")
    w.case("million_node_outputs.onnx",
           model(graph([node("Split", ["x"], [f"{i:x}" for i in range(million)])], [], X, Y)),
           "LIMIT", "values")
    w.case("many_node_inputs.onnx",
           model(graph([data(1, b"") * 5 * million + node("Concat", ["x"], ["y"])], [], X, Y)),
           "LIMIT", "inputs")
    w.case("million_attributes.onnx",
           chain([node("Relu", ["x"], ["y"], data(5, b"") * million)]), "FORMAT", "attributes")
    inner = data(1, node("Relu", ["x"], ["y"], name="")) * 300000
    w.case("subgraph_nodes.onnx",
           chain([node("If", ["x"], ["y"], data(5, data(1, "then_branch") + data(6, inner) +
                                                number(20, 5)))]), "LIMIT", "nodes")
    deep = nested(10000, in_graph, data(2, "core"))
    w.case("graphs_10000_deep.onnx", number(1, 8) + opset(17) + data(7, deep), "LIMIT", "nested")
    w.case("graphs_12_deep.onnx", number(1, 8) + opset(17) +
           data(7, nested(12, in_graph, data(2, "core"))), "LIMIT", "nested")
    kind = nested(10000, in_sequence, data(1, number(1, 1)))
    w.case("types_10000_deep.onnx",
           model(graph([node("Relu", ["x"], ["y"])], [], [data(1, "x") + data(2, kind)], Y)),
           "LIMIT", "nested")


def many_outputs():
    return data(12, info("x", (1, 3)))


def add_attributes(w):
    def conv(attributes, **options):
        return chain([node("Conv", ["x", "w"], ["y"], attributes, name="conv")],
                     [float_tensor("w", [4, 3, 3, 3])], [info("x", (1, 3, 8, 8))], Y, **options)

    w.case("attribute_unknown.onnx", conv(attr_int("frobnicate", 1)), ["UNSUPPORTED", "FORMAT"],
           "frobnicate")
    w.case("attribute_wrong_type.onnx", conv(attr_text("group", "two")), "FORMAT", "group")
    w.case("attribute_number_for_list.onnx", conv(attr_int("strides", 1)), "FORMAT", "strides")
    w.case("attribute_twice.onnx", conv(attr_int("group", 1) + attr_int("group", 1)), "FORMAT",
           "twice")
    w.case("attribute_unnamed.onnx", conv(attr_int("", 1)), ["UNSUPPORTED", "FORMAT"], "conv")
    w.case("attribute_without_type.onnx", conv(data(5, data(1, "group"))), "FORMAT", "group")
    w.case("attribute_type_lies.onnx",
           conv(data(5, data(1, "group") + number(3, 1) + number(20, 1))), "FORMAT", "group")
    w.case("attribute_type_99.onnx", conv(data(5, data(1, "group") + number(20, 99))), "FORMAT",
           "group")
    w.case("attribute_reference.onnx",
           conv(data(5, data(1, "group") + data(21, "outer") + number(20, 2))), "FORMAT", "refers")
    w.case("attribute_list_long.onnx", conv(attr_ints("strides", [1] * 100000)), "FORMAT",
           "strides")
    w.case("attributes_65.onnx",
           conv(b"".join(attr_float(f"a{i}", 1) for i in range(65))), "FORMAT", "65 attributes")
    w.case("attribute_enum_unknown.onnx", conv(attr_text("auto_pad", "SAME_SIDEWAYS")),
           ["UNSUPPORTED", "FORMAT"], "auto_pad")

    def constant(attributes, inputs=()):
        return chain([node("Constant", inputs, ["c"], attributes, name="const"),
                      node("Add", ["x", "c"], ["y"])])

    w.case("constant_empty.onnx", constant(b""), "FORMAT", "Constant")
    w.case("constant_two_values.onnx", constant(attr_int("value_int", 1) * 2), "FORMAT",
           "2 attributes")
    w.case("constant_with_input.onnx", constant(attr_int("value_int", 1), ["x"]), "FORMAT",
           "inputs")
    w.case("constant_text.onnx", constant(attr_text("value_string", "x")), "UNSUPPORTED",
           "value_string")
    w.case("constant_unknown.onnx", constant(attr_int("value_frob", 1)), "FORMAT", "value_frob")
    w.case("constant_bad_tensor.onnx",
           constant(data(5, data(1, "value") + data(5, tensor("", [4], INT64, bytes(31))) +
                         number(20, 4))), "FORMAT", "31 bytes")
    w.case("topk_two_ks.onnx",
           chain([node("TopK", ["x", "k"], ["y", "i"], attr_int("k", 1))],
                 [long_tensor("k", [1])]), ["FORMAT", "UNSUPPORTED"], "'k'")


def add(w):
    add_names(w)
    add_floods(w)
    add_attributes(w)
