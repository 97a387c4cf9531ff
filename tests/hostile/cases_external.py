"""External data that is not in the model's folder, or not what its entry says."""
import os

from proto import external, floats, graph, info, model, node


def with_tensor(location, **entries):
    return model(graph([node("Add", ["x", "w"], ["y"])],
                       [external("w", [2, 3], location, **entries)],
                       [info("x", (2, 3))], [info("y", (2, 3))]))


def link(w, make, target, name):
    path = w.path(name)
    if os.path.lexists(path):
        os.remove(path)
    make(target, path)


def add(w):
    weights = floats(*range(6))
    outside = w.put("outside/secret.bin", weights)
    # The models lie one folder below, so that ".." has somewhere to go.
    w.put("inside/weights.bin", weights)
    w.put("inside/deeper/weights.bin", weights)
    w.case("inside/good.onnx", with_tensor("weights.bin"), "OK")
    w.case("inside/good_deeper.onnx", with_tensor("deeper/weights.bin", offset=0, length=24), "OK")

    def case(name, status, contains, location, **entries):
        w.case("inside/" + name, with_tensor(location, **entries), status, contains)

    case("parent.onnx", "FORMAT", "'..'", "../outside/secret.bin")
    case("parent_hidden.onnx", "FORMAT", "'..'", "deeper/../../outside/secret.bin")
    case("parent_last.onnx", "FORMAT", "'..'", "deeper/..")
    case("absolute.onnx", "FORMAT", "absolute", "/etc/passwd")
    case("absolute_real.onnx", "FORMAT", "absolute", os.path.abspath(outside))
    link(w, os.symlink, os.path.abspath(outside), "inside/link.bin")
    case("symlink.onnx", "FORMAT", "link", "link.bin")
    link(w, os.symlink, "weights.bin", "inside/near_link.bin")
    case("symlink_inside.onnx", "FORMAT", "link", "near_link.bin")
    link(w, os.symlink, "../outside", "inside/folder_link")
    case("symlink_folder.onnx", ["FORMAT", "IO"], "folder_link", "folder_link/secret.bin")
    link(w, os.symlink, "loop.bin", "inside/loop.bin")
    case("symlink_loop.onnx", "FORMAT", "link", "loop.bin")
    link(w, os.link, outside, "inside/hard.bin")
    case("hard_link.onnx", "FORMAT", "hard links", "hard.bin")
    link(w, lambda _, path: os.mkfifo(path), None, "inside/pipe.bin")
    case("pipe.onnx", "IO", "pipe", "pipe.bin")
    case("folder.onnx", "IO", "folder", "deeper")
    case("missing.onnx", "IO", "missing.bin", "missing.bin")
    case("missing_folder.onnx", "IO", "nowhere", "nowhere/weights.bin")
    case("location_empty.onnx", "FORMAT", "location", "")
    case("location_missing.onnx", "FORMAT", "location", None, offset=0)
    case("location_long.onnx", ["FORMAT", "IO"], "", "a" * 60000)
    case("location_newline.onnx", "IO", "", "weights\n.bin")
    case("offset_past_end.onnx", "FORMAT", "past the end", "weights.bin", offset=1)
    case("offset_negative.onnx", "FORMAT", "offset", "weights.bin", offset=-1)
    case("offset_2_63.onnx", "FORMAT", "past the end", "weights.bin", offset=(1 << 63) - 100)
    case("offset_2_64.onnx", "FORMAT", "offset", "weights.bin", offset=1 << 64)
    case("offset_text.onnx", "FORMAT", "offset", "weights.bin", offset="0x10")
    case("length_huge.onnx", "FORMAT", "dims need 24", "weights.bin", length=1 << 40)
    case("length_short.onnx", "FORMAT", "dims need 24", "weights.bin", length=23)
    case("length_negative.onnx", "FORMAT", "length", "weights.bin", length=-24)
    w.put("inside/short.bin", weights[:20])
    case("file_short.onnx", "FORMAT", "past the end", "short.bin")
    w.put("inside/empty.bin", b"")
    case("file_empty.onnx", "FORMAT", "past the end", "empty.bin")
    both = external("w", [2, 3], "weights.bin") + b"\x4a\x18" + weights
    w.case("inside/external_and_raw.onnx",
           model(graph([node("Add", ["x", "w"], ["y"])], [both], [info("x", (2, 3))],
                       [info("y", (2, 3))])), "FORMAT", "external and own data")
