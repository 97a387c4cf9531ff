"""Finds the tensors of an exported detector that are compared part by part, and names them.

part_map0..2         the three maps that enter the head
part_distances       Detect: distances to the four sides, in strides, before decoding
part_boxes           RT-DETR: boxes of all queries, before the final selection
part_logits          class logits, before the final selection
part_query_scores    RT-DETR: the encoder's score of every place
part_queries         RT-DETR: which places the encoder chose as queries, best first
"""

import re

import onnx
from onnx import TensorProto, helper


class Graph:
    """Producers and consumers of the tensors of an onnx.GraphProto."""

    def __init__(self, graph):
        self.nodes = list(graph.node)
        self.producer = {o: n for n in self.nodes for o in n.output}
        self.consumers = {}
        for node in self.nodes:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)

    def one(self, pattern, op):
        """The only node of a type whose name matches."""
        found = [n for n in self.nodes if n.op_type == op and re.search(pattern, n.name)]
        if len(found) != 1:
            raise LookupError(f"{len(found)} nodes {op} match {pattern}")
        return found[0]

    def after(self, tensor, op):
        """Output of the first node of a type downstream of a tensor."""
        queue = [tensor]
        while queue:
            for node in self.consumers.get(queue.pop(0), []):
                if node.op_type == op:
                    return node.output[0]
                queue.append(node.output[0])
        raise LookupError(f"no {op} after {tensor}")

    def shaped(self, op):
        """Nodes of a type, in the graph's order."""
        return [n for n in self.nodes if n.op_type == op]


def _detect_parts(graph):
    """Parts of the Detect head, of either branch."""
    found = {}
    for i in range(3):
        first = graph.one(rf"/(one2one_)?cv2\.{i}/\w*cv2\.{i}\.0/conv/Conv$", "Conv")
        found[first.input[0]] = f"part_map{i}"
    last = graph.one(r"/(one2one_)?cv2\.0/\w*cv2\.0\.2/Conv$", "Conv").output[0]
    bins = [n for n in graph.shaped("Conv") if "/dfl/conv/" in n.name]
    if bins:
        found[graph.after(bins[0].output[0], "Reshape")] = "part_distances"
    else:
        found[graph.after(last, "Concat")] = "part_distances"
    last = graph.one(r"/(one2one_)?cv3\.0/\w*cv3\.0\.2/Conv$", "Conv").output[0]
    found[graph.after(last, "Concat")] = "part_logits"
    return found, ()


def _decoder_parts(graph):
    """Parts of RT-DETR's decoder."""
    found = {}
    for i in range(3):
        first = graph.one(rf"input_proj\.{i}/input_proj\.{i}\.0/Conv$", "Conv")
        found[first.input[0]] = f"part_map{i}"
    heads = [n for n in graph.shaped("Add") if re.search(r"/dec_score_head\.\d+/Add$", n.name)]
    found[heads[-1].output[0]] = "part_logits"
    found[graph.shaped("GatherElements")[-1].input[0]] = "part_boxes"
    choice = graph.shaped("TopK")[0]
    found[choice.input[0]] = "part_query_scores"
    queries = choice.output[1]
    found[queries] = "part_queries"
    return found, (queries,)


def with_parts(model):
    """A copy of the model with the parts as further outputs."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = Graph(model.graph)
    decoder = any("input_proj" in n.name for n in graph.nodes)
    found, whole = (_decoder_parts if decoder else _detect_parts)(graph)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name in found:
                    names[i] = found[name]
    for i in reversed(range(len(model.graph.value_info))):
        if model.graph.value_info[i].name in found:
            del model.graph.value_info[i]
    ranks = {"part_map": 4, "part_query_scores": 2, "part_queries": 2}
    whole = [found[name] for name in whole]
    for name in sorted(found.values()):
        rank = next((r for prefix, r in ranks.items() if name.startswith(prefix)), 3)
        kind = TensorProto.INT64 if name in whole else TensorProto.FLOAT
        dims = ["batch"] + [f"{name}_dim{i}" for i in range(1, rank)]
        model.graph.output.append(helper.make_tensor_value_info(name, kind, dims))
    return model
