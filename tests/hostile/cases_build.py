"""Models that read well and must fail to compile: folding bombs, operators out of their range."""
from proto import (BOOL, FLOAT, INT32, INT64, attr_float, attr_int, attr_ints, attr_tensor,
                   attr_text, float_tensor, floats, graph, info, long_tensor, longs, model, node,
                   scalar_long, tensor)

ANY = ["FORMAT", "LIMIT", "UNSUPPORTED"]
MIN64 = -(1 << 63)


def add(w):
    def case(name, nodes, initializers=(), status="FORMAT", contains="bad", x=(1, 3), y=(1, 3),
             **options):
        """`x`, `y`: dims of the graph's input and output; the offending node is called bad."""
        w.case(name, model(graph(nodes, initializers, [info("x", x)], [info("y", y)]), **options),
               status, contains, "build")

    add_bombs(case)
    add_indices(case)
    add_shapes(case)
    add_windows(case)
    add_numbers(case)


def add_bombs(case):
    use = node("Add", ["x", "b"], ["y"], name="use")

    def bomb(name, nodes, initializers=(), **options):
        case(name, nodes + [use], initializers, ["LIMIT", "FORMAT"], "", **options)

    bomb("bomb_constant_of_shape.onnx", [node("ConstantOfShape", ["s"], ["b"])],
         [long_tensor("s", [1 << 40])])
    bomb("bomb_constant_of_shape_overflow.onnx", [node("ConstantOfShape", ["s"], ["b"])],
         [long_tensor("s", [1 << 62, 1 << 62, 4])])
    bomb("bomb_tile.onnx", [node("Tile", ["w", "r"], ["b"])],
         [float_tensor("w", [4, 4]), long_tensor("r", [1 << 20, 1 << 20])])
    bomb("bomb_tile_overflow.onnx", [node("Tile", ["w", "r"], ["b"])],
         [float_tensor("w", [4, 4]), long_tensor("r", [1 << 62, 1 << 62])])
    bomb("bomb_expand.onnx", [node("Expand", ["w", "s"], ["b"])],
         [float_tensor("w", [1]), long_tensor("s", [1 << 20, 1 << 20])])
    bomb("bomb_range.onnx",
         [node("Range", ["lo", "hi", "step"], ["r"]),
          node("Cast", ["r"], ["b"], attr_int("to", FLOAT))],
         [scalar_long("lo", 0), scalar_long("hi", 1 << 40), scalar_long("step", 1)])
    bomb("bomb_range_extremes.onnx",
         [node("Range", ["lo", "hi", "step"], ["r"]),
          node("Cast", ["r"], ["b"], attr_int("to", FLOAT))],
         [scalar_long("lo", MIN64), scalar_long("hi", (1 << 63) - 1), scalar_long("step", 1)])
    bomb("bomb_pad.onnx", [node("Pad", ["w", "p"], ["b"])],
         [float_tensor("w", [4]), long_tensor("p", [1 << 40, 1 << 40])])
    bomb("bomb_pad_overflow.onnx", [node("Pad", ["w", "p"], ["b"])],
         [float_tensor("w", [4]), long_tensor("p", [(1 << 63) - 1, (1 << 63) - 1])])
    bomb("bomb_resize.onnx", [node("Resize", ["w", "", "s"], ["b"])],
         [float_tensor("w", [1, 1, 2, 2]), tensor("s", [4], FLOAT, floats(1, 1, 1e9, 1e9))])
    bomb("bomb_resize_sizes.onnx", [node("Resize", ["w", "", "", "s"], ["b"])],
         [float_tensor("w", [1, 1, 2, 2]), long_tensor("s", [1, 1, 1 << 31, 1 << 31])])
    bomb("bomb_upsample.onnx", [node("Upsample", ["w", "s"], ["b"])],
         [float_tensor("w", [1, 1, 2, 2]), tensor("s", [4], FLOAT, floats(1, 1, 1e9, 1e9))],
         version=9)
    names = ["w"] + [f"d{i}" for i in range(49)] + ["b"]
    bomb("bomb_doubling_concat.onnx",
         [node("Concat", [a, a], [b], attr_int("axis", 0), name=f"double_{a}")
          for a, b in zip(names, names[1:])], [float_tensor("w", [4])])
    bomb("bomb_doubling_tile.onnx",
         [node("Tile", [a, "r"], [b], name=f"double_{a}") for a, b in zip(names, names[1:])],
         [float_tensor("w", [4]), long_tensor("r", [2])])
    bomb("bomb_doubling_then_reduced.onnx",
         [node("Concat", [a, a], [b], attr_int("axis", 0), name=f"double_{a}")
          for a, b in zip(names[:-1], names[1:-1])] +
         [node("ReduceMax", [names[-2]], ["b"])], [float_tensor("w", [4])])
    bomb("bomb_outer_product.onnx",
         [node("Mul", ["w", "v"], ["m"]), node("Mul", ["m", "u"], ["b"])],
         [float_tensor("w", [4096]), float_tensor("v", [4096, 1]),
          float_tensor("u", [4096, 1, 1])])
    bomb("bomb_matmul_chain.onnx",
         [node("ConstantOfShape", ["s"], ["a"]), node("MatMul", ["a", "a"], ["c"]),
          node("MatMul", ["c", "c"], ["e"]), node("MatMul", ["e", "e"], ["b"])],
         [long_tensor("s", [8000, 8000])])
    bomb("bomb_conv_work.onnx",
         [node("ConstantOfShape", ["s"], ["a"]), node("ConstantOfShape", ["k"], ["f"]),
          node("Conv", ["a", "f"], ["b"], attr_ints("pads", [500] * 4))],
         [long_tensor("s", [1, 8, 1000, 1000]), long_tensor("k", [8, 8, 1000, 1000])])
    case("bomb_input.onnx", [node("Relu", ["x"], ["y"])], (), ["LIMIT", "FORMAT", "MEMORY"], "",
         x=(1 << 20, 1 << 20), y=(1 << 20, 1 << 20))
    case("bomb_input_overflow.onnx", [node("Relu", ["x"], ["y"])], (), ["LIMIT", "FORMAT"], "",
         x=(1 << 62, 1 << 62), y=(1 << 62, 1 << 62))


def add_indices(case):
    data = float_tensor("w", [4, 3])
    add = node("Add", ["x", "g"], ["y"], name="use")
    for name, index in (("gather_past_end", 4), ("gather_before_begin", -5),
                        ("gather_huge", (1 << 63) - 1), ("gather_min", MIN64)):
        case(name + ".onnx", [node("Gather", ["w", "i"], ["g"]), add],
             [data, long_tensor("i", [index])])
    case("gather_axis.onnx", [node("Gather", ["w", "i"], ["g"], attr_int("axis", 2)), add],
         [data, long_tensor("i", [0])])
    case("gather_elements_past_end.onnx", [node("GatherElements", ["w", "i"], ["g"]), add],
         [data, tensor("i", [1, 3], INT64, longs(0, 9, 0))])
    case("gather_nd_past_end.onnx", [node("GatherND", ["w", "i"], ["g"]), add],
         [data, tensor("i", [1, 2], INT64, longs(3, 3))])
    case("gather_nd_too_deep.onnx", [node("GatherND", ["w", "i"], ["g"]), add],
         [data, tensor("i", [1, 5], INT64, longs(0, 0, 0, 0, 0))])
    case("scatter_nd_past_end.onnx", [node("ScatterND", ["w", "i", "u"], ["g"]), add],
         [data, tensor("i", [1, 1], INT64, longs(99)), float_tensor("u", [1, 3])])
    case("scatter_nd_updates.onnx", [node("ScatterND", ["w", "i", "u"], ["g"]), add],
         [data, tensor("i", [1, 1], INT64, longs(0)), float_tensor("u", [2, 3])])
    for name, k in (("topk_past_end", 9), ("topk_negative", -1), ("topk_huge", 1 << 62)):
        case(name + ".onnx", [node("TopK", ["x", "k"], ["y", "i"])], [long_tensor("k", [k])], ANY)
    case("topk_axis.onnx", [node("TopK", ["x", "k"], ["y", "i"], attr_int("axis", 7))],
         [long_tensor("k", [1])])
    case("split_sum.onnx", [node("Split", ["x", "s"], ["y", "z"], attr_int("axis", 1))],
         [long_tensor("s", [1, 1])])
    case("split_negative.onnx", [node("Split", ["x", "s"], ["y", "z"], attr_int("axis", 1))],
         [long_tensor("s", [-1, 4])])
    case("split_overflow.onnx", [node("Split", ["x", "s"], ["y", "z"], attr_int("axis", 1))],
         [long_tensor("s", [(1 << 63) - 1, (1 << 63) - 1])])
    case("split_count.onnx", [node("Split", ["x", "s"], ["y"], attr_int("axis", 1))],
         [long_tensor("s", [1, 1, 1])])
    case("slice_step_0.onnx", [node("Slice", ["x", "a", "b", "c", "d"], ["y"])],
         [long_tensor("a", [0]), long_tensor("b", [3]), long_tensor("c", [1]),
          long_tensor("d", [0])])
    case("slice_axis.onnx", [node("Slice", ["x", "a", "b", "c"], ["y"])],
         [long_tensor("a", [0]), long_tensor("b", [3]), long_tensor("c", [5])])
    case("slice_axis_twice.onnx", [node("Slice", ["x", "a", "b", "c"], ["y"])],
         [long_tensor("a", [0, 0]), long_tensor("b", [1, 2]), long_tensor("c", [1, 1])], ANY)
    case("slice_extremes.onnx", [node("Slice", ["x", "a", "b", "c", "d"], ["y"])],
         [long_tensor("a", [MIN64]), long_tensor("b", [(1 << 63) - 1]), long_tensor("c", [1]),
          long_tensor("d", [MIN64])], ANY + ["OK"], "")


def add_shapes(case):
    def reshape(name, dims, **options):
        case(name, [node("Reshape", ["x", "s"], ["y"])], [long_tensor("s", dims)], **options)

    reshape("reshape_count.onnx", [7])
    reshape("reshape_two_unknown.onnx", [-1, -1])
    reshape("reshape_minus_2.onnx", [-2, 3])
    reshape("reshape_indivisible.onnx", [-1, 2])
    reshape("reshape_overflow.onnx", [1 << 62, 1 << 62, -1], status=ANY)
    reshape("reshape_zero_past_rank.onnx", [1, 3, 0])
    reshape("reshape_rank_20.onnx", [1] * 20, status=ANY)
    case("reshape_float.onnx", [node("Reshape", ["x", "s"], ["y"])],
         [tensor("s", [1], FLOAT, floats(3))], ANY)
    case("transpose_twice.onnx", [node("Transpose", ["x"], ["y"], attr_ints("perm", [0, 0]))])
    case("transpose_range.onnx", [node("Transpose", ["x"], ["y"], attr_ints("perm", [0, 9]))])
    case("transpose_short.onnx", [node("Transpose", ["x"], ["y"], attr_ints("perm", [0]))])
    case("transpose_min.onnx", [node("Transpose", ["x"], ["y"], attr_ints("perm", [MIN64, 0]))])
    case("concat_axis.onnx", [node("Concat", ["x", "x"], ["y"], attr_int("axis", 2))])
    case("concat_axis_min.onnx", [node("Concat", ["x", "x"], ["y"], attr_int("axis", MIN64))])
    case("concat_mismatch.onnx", [node("Concat", ["x", "w"], ["y"], attr_int("axis", 0))],
         [float_tensor("w", [1, 4])])
    case("concat_rank.onnx", [node("Concat", ["x", "w"], ["y"], attr_int("axis", 0))],
         [float_tensor("w", [3])])
    case("squeeze_not_1.onnx", [node("Squeeze", ["x", "a"], ["y"])], [long_tensor("a", [1])])
    case("squeeze_axis.onnx", [node("Squeeze", ["x", "a"], ["y"])], [long_tensor("a", [8])])
    case("unsqueeze_axis.onnx", [node("Unsqueeze", ["x", "a"], ["y"])], [long_tensor("a", [-9])])
    case("unsqueeze_twice.onnx", [node("Unsqueeze", ["x", "a"], ["y"])],
         [long_tensor("a", [0, 0])])
    case("unsqueeze_rank_9.onnx", [node("Unsqueeze", ["x", "a"], ["y"])],
         [long_tensor("a", list(range(7)))], ANY)
    case("softmax_axis.onnx", [node("Softmax", ["x"], ["y"], attr_int("axis", 2))])
    case("flatten_axis.onnx", [node("Flatten", ["x"], ["y"], attr_int("axis", 3))])
    case("reduce_axis.onnx", [node("ReduceMean", ["x"], ["y"], attr_ints("axes", [5]))])
    case("reduce_axis_twice.onnx", [node("ReduceMean", ["x"], ["y"], attr_ints("axes", [1, 1]))],
         (), ANY + ["OK"], "")
    case("layer_norm_axis.onnx",
         [node("LayerNormalization", ["x", "w"], ["y"], attr_int("axis", 4))],
         [float_tensor("w", [3])])
    case("broadcast_mismatch.onnx", [node("Add", ["x", "w"], ["y"])], [float_tensor("w", [4])])
    case("where_mismatch.onnx", [node("Where", ["c", "x", "w"], ["y"])],
         [tensor("c", [2], BOOL, b"\1\0"), float_tensor("w", [5])])
    case("where_type.onnx", [node("Where", ["w", "x", "x"], ["y"])], [float_tensor("w", [3])], ANY)
    case("matmul_mismatch.onnx", [node("MatMul", ["x", "w"], ["y"])], [float_tensor("w", [4, 4])])
    case("matmul_scalar.onnx", [node("MatMul", ["x", "w"], ["y"])], [float_tensor("w", [])])
    case("gemm_mismatch.onnx", [node("Gemm", ["x", "w"], ["y"], attr_int("transB", 1))],
         [float_tensor("w", [3, 4])])
    case("gemm_bias.onnx", [node("Gemm", ["x", "w", "c"], ["y"])],
         [float_tensor("w", [3, 4]), float_tensor("c", [7])])
    for name, equation in (("malformed", "ij,"), ("letters", "i1->i"), ("output", "ij->k"),
                           ("rank", "ijk->i"), ("twice", "ij->ii"), ("empty", "")):
        case(f"einsum_{name}.onnx", [node("Einsum", ["x"], ["y"], attr_text("equation", equation))],
             (), ANY)
    case("einsum_long.onnx", [node("Einsum", ["x"], ["y"], attr_text("equation", "i" * 100000))],
         (), ANY)
    case("expand_negative.onnx", [node("Expand", ["x", "s"], ["y"])], [long_tensor("s", [-4, 3])])
    case("expand_mismatch.onnx", [node("Expand", ["x", "s"], ["y"])], [long_tensor("s", [1, 4])])
    case("tile_negative.onnx", [node("Tile", ["x", "r"], ["y"])], [long_tensor("r", [-1, 1])])
    case("tile_rank.onnx", [node("Tile", ["x", "r"], ["y"])], [long_tensor("r", [1, 1, 1])])
    case("constant_of_shape_negative.onnx",
         [node("ConstantOfShape", ["s"], ["c"]), node("Add", ["x", "c"], ["y"], name="use")],
         [long_tensor("s", [-1])])
    case("pad_count.onnx", [node("Pad", ["x", "p"], ["y"])], [long_tensor("p", [1, 1, 1])])
    case("pad_below_0.onnx", [node("Pad", ["x", "p"], ["y"])], [long_tensor("p", [0, -9, 0, 0])])
    case("pad_reflect_far.onnx",
         [node("Pad", ["x", "p"], ["y"], attr_text("mode", "reflect"))],
         [long_tensor("p", [0, 9, 0, 9])], ANY + ["OK"], "")


def add_windows(case):
    def conv(name, attributes, weights=(4, 3, 3, 3), op="Conv", status="FORMAT", x=(1, 3, 8, 8)):
        case(name, [node(op, ["x", "w"], ["y"], attributes)], [float_tensor("w", list(weights))],
             status, x=x, y=(1, 4, 8, 8))

    conv("conv_stride_0.onnx", attr_ints("strides", [0, 1]))
    conv("conv_stride_negative.onnx", attr_ints("strides", [-1, -1]))
    conv("conv_dilation_0.onnx", attr_ints("dilations", [0, 0]))
    conv("conv_dilation_huge.onnx", attr_ints("dilations", [1 << 62, 1 << 62]))
    conv("conv_pads_negative.onnx", attr_ints("pads", [-1, -1, -1, -1]))
    conv("conv_pads_huge.onnx", attr_ints("pads", [(1 << 63) - 1] * 4), status=ANY)
    conv("conv_pads_count.onnx", attr_ints("pads", [1, 1, 1]))
    conv("conv_kernel_shape_lies.onnx", attr_ints("kernel_shape", [5, 5]))
    conv("conv_kernel_0.onnx", b"", (4, 3, 0, 0))
    conv("conv_kernel_large.onnx", b"", (4, 3, 9, 9))
    conv("conv_group_0.onnx", attr_int("group", 0))
    conv("conv_group_negative.onnx", attr_int("group", -3))
    conv("conv_group_indivisible.onnx", attr_int("group", 2))
    conv("conv_group_outputs.onnx", attr_int("group", 3), (4, 1, 3, 3))
    conv("conv_channels.onnx", b"", (4, 5, 3, 3))
    conv("conv_rank.onnx", b"", (4, 3))
    conv("conv_input_rank.onnx", b"", x=(3, 8))
    conv("conv_transpose_stride_0.onnx", attr_ints("strides", [0, 0]), (3, 4, 3, 3),
         "ConvTranspose")
    conv("conv_transpose_huge.onnx", attr_ints("strides", [1 << 40, 1 << 40]), (3, 4, 3, 3),
         "ConvTranspose", ANY)
    conv("conv_transpose_output_padding.onnx", attr_ints("output_padding", [-9, -9]),
         (3, 4, 3, 3), "ConvTranspose")
    conv("conv_transpose_output_shape.onnx", attr_ints("output_shape", [-4, 1 << 50]),
         (3, 4, 3, 3), "ConvTranspose", ANY)

    def pool(name, attributes, op="MaxPool"):
        case(name, [node(op, ["x"], ["y"], attributes)], x=(1, 3, 8, 8), y=(1, 3, 8, 8))

    pool("pool_no_kernel.onnx", b"")
    pool("pool_kernel_0.onnx", attr_ints("kernel_shape", [0, 0]))
    pool("pool_kernel_large.onnx", attr_ints("kernel_shape", [9, 9]))
    pool("pool_kernel_huge.onnx", attr_ints("kernel_shape", [1 << 62, 1 << 62]))
    pool("pool_stride_0.onnx",
         attr_ints("kernel_shape", [2, 2]) + attr_ints("strides", [0, 0]), "AveragePool")
    pool("pool_kernel_count.onnx", attr_ints("kernel_shape", [2]))
    for name, scale in (("zero", 0.0), ("negative", -2.0), ("nan", float("nan")),
                        ("infinite", float("inf"))):
        case(f"resize_{name}.onnx", [node("Resize", ["x", "", "s"], ["y"])],
             [tensor("s", [4], FLOAT, floats(1, 1, scale, scale))], ANY, x=(1, 3, 8, 8),
             y=(1, 3, 8, 8))
    case("resize_neither.onnx", [node("Resize", ["x"], ["y"])], (), x=(1, 3, 8, 8), y=(1, 3, 8, 8))
    case("resize_count.onnx", [node("Resize", ["x", "", "s"], ["y"])],
         [tensor("s", [3], FLOAT, floats(1, 1, 2))], x=(1, 3, 8, 8), y=(1, 3, 8, 8))
    case("grid_sample_grid.onnx", [node("GridSample", ["x", "w"], ["y"])],
         [float_tensor("w", [1, 2, 2, 3])], x=(1, 3, 8, 8), y=(1, 3, 2, 2))
    case("batch_norm_channels.onnx", [node("BatchNormalization", ["x", "w", "w", "w", "w"], ["y"])],
         [float_tensor("w", [7])], x=(1, 3, 8, 8), y=(1, 3, 8, 8))
    case("batch_norm_training.onnx",
         [node("BatchNormalization", ["x", "w", "w", "w", "w"], ["y"],
               attr_int("training_mode", 1))],
         [float_tensor("w", [3])], "UNSUPPORTED", "raining", x=(1, 3, 8, 8), y=(1, 3, 8, 8))


def add_numbers(case):
    def folded(name, op, left, right, elem, status=("FORMAT",), attributes=b""):
        pack = longs if elem == INT64 else lambda *v: longs(*v)[:4]
        case(name,
             [node(op, ["a", "b"], ["c"], attributes),
              node("Cast", ["c"], ["f"], attr_int("to", FLOAT), name="cast"),
              node("Add", ["x", "f"], ["y"], name="use")],
             [tensor("a", [1], elem, pack(left)), tensor("b", [1], elem, pack(right))],
             list(status), "" if "OK" in status else "bad")

    folded("div_by_0_int64.onnx", "Div", 7, 0, INT64)
    folded("div_by_0_int32.onnx", "Div", 7, 0, INT32)
    folded("mod_by_0.onnx", "Mod", 7, 0, INT64)
    folded("div_min_by_minus_1.onnx", "Div", MIN64, -1, INT64, ("FORMAT", "OK"))
    folded("mod_min_by_minus_1.onnx", "Mod", MIN64, -1, INT64, ("FORMAT", "OK"))
    folded("mul_overflow.onnx", "Mul", MIN64, MIN64, INT64, ("FORMAT", "OK"))
    folded("add_overflow.onnx", "Add", MIN64, MIN64, INT64, ("FORMAT", "OK"))
    folded("pow_negative.onnx", "Pow", 0, -1, INT64, ("FORMAT", "UNSUPPORTED", "OK"))
    case("types_differ.onnx", [node("Add", ["x", "w"], ["y"])], [long_tensor("w", [1])])
    case("cast_to_99.onnx", [node("Cast", ["x"], ["y"], attr_int("to", 99))], (), ANY)
    case("cast_to_text.onnx", [node("Cast", ["x"], ["y"], attr_int("to", 8))], (), ANY)
    case("cast_without_to.onnx", [node("Cast", ["x"], ["y"])], (), ANY)
    case("cast_nan_to_int.onnx",
         [node("Cast", ["w"], ["i"], attr_int("to", INT32)),
          node("Cast", ["i"], ["f"], attr_int("to", FLOAT)), node("Add", ["x", "f"], ["y"])],
         [tensor("w", [3], FLOAT, floats(float("nan"), 1e30, -1e30))], ["FORMAT", "OK"], "")
    case("range_step_0.onnx",
         [node("Range", ["lo", "hi", "step"], ["r"]),
          node("Cast", ["r"], ["f"], attr_int("to", FLOAT)), node("Add", ["x", "f"], ["y"])],
         [scalar_long("lo", 0), scalar_long("hi", 3), scalar_long("step", 0)])
    case("range_nan.onnx", [node("Range", ["n", "n", "n"], ["r"]), node("Add", ["x", "r"], ["y"])],
         [tensor("n", [], FLOAT, floats(float("nan")))], ["FORMAT", "LIMIT"])
    case("range_not_scalar.onnx",
         [node("Range", ["n", "n", "n"], ["r"]), node("Add", ["x", "r"], ["y"])],
         [float_tensor("n", [2])])
    case("clip_bounds_type.onnx", [node("Clip", ["x", "w"], ["y"])], [long_tensor("w", [0])])
    case("leaky_nan.onnx", [node("LeakyRelu", ["x"], ["y"], attr_float("alpha", float("nan")))],
         (), ["OK"], "")
    case("constant_of_shape_value.onnx",
         [node("ConstantOfShape", ["s"], ["c"],
               attr_tensor("value", tensor("", [2], FLOAT, floats(1, 2)))),
          node("Add", ["x", "c"], ["y"], name="use")], [long_tensor("s", [1])])
