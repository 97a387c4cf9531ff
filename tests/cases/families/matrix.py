"""MatMul, Gemm and Einsum."""

import numpy as np

from case import F16, F32, I32, I64

BUILDERS = {}


def _wide(array):
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def matmul(case):
    """MatMul with batches that broadcast, and vectors on either side."""
    dtype = case.pick(f32=0.75)
    m, k, n = (case.int(1, 20) for _ in range(3))
    full = [case.int(1, 4) for _ in range(case.int(0, 3))]
    a = [1 if case.chance(0.25) else d for d in full] + [m, k]
    b = [1 if case.chance(0.25) else d for d in full] + [k, n]
    kind = case.int(0, 5)
    if kind == 0:
        a = [k]
    elif kind == 1:
        b = [k]
    elif kind == 2:
        b = [k, n]
    a, b = case.data(tuple(a), dtype, -1.5, 1.5), case.data(tuple(b), dtype, -1.5, 1.5)
    case.node([case.input(a), case.param(b, "w", 0.5)])
    case.output(dtype)
    case.answer = lambda: [np.asarray(_wide(a) @ _wide(b)).astype(F32 if dtype == F16 else dtype)]


def gemm(case):
    """Gemm; C broadcasts in one direction, and may be absent from opset 11."""
    dtype = case.pick(f32=0.75, only=[F32, F16, I32, I64])
    m, k, n = (case.int(1, 24) for _ in range(3))
    ta, tb = case.one([None, 0, 1]), case.one([None, 0, 1])
    a = case.data((k, m) if ta else (m, k), dtype, -1.5, 1.5)
    b = case.data((n, k) if tb else (k, n), dtype, -1.5, 1.5)
    attributes = {"transA": ta, "transB": tb}
    if case.chance(0.5):
        attributes["alpha"] = float(case.rng.uniform(0.2, 1.5)) if dtype.kind == "f" else 2.0
    if case.chance(0.5):
        attributes["beta"] = float(case.rng.uniform(0.2, 1.5)) if dtype.kind == "f" else 3.0
    names, c = [case.input(a), case.param(b, "w", 0.3)], None
    if case.opset < 7:
        kind = case.one(["full", "row", "column"])
        shape = {"full": (m, n), "row": (n,), "column": (m, 1)}[kind]
        attributes["broadcast"] = 0 if kind == "full" else 1
    else:
        shape = case.one([(m, n), (n,), (1, n), (m, 1), (1,), (1, 1), ()])
    if case.opset < 11 or case.chance(0.75):
        c = case.data(shape, dtype)
        names.append(case.param(c, "c", 0.3))
    case.node(names, **attributes)
    case.output(dtype)

    def answer():
        y = attributes.get("alpha", 1.0) * ((_wide(a).T if ta else _wide(a))
                                            @ (_wide(b).T if tb else _wide(b)))
        if c is not None:
            y = y + attributes.get("beta", 1.0) * _wide(c)
        return [y.astype(F32 if dtype == F16 else dtype)]
    case.answer = answer


EQUATIONS = [
    "ij,jk->ik", "bij,bjk->bik", "bij,bkj->bik", "ij->ji", "ij->", "ij->i", "ij->j", "i,i->",
    "i,j->ij", "ij,jk", "ba", "bhqd,bhkd->bhqk", "bhqk,bhkd->bhqd", "bchw,bkc->bkhw",
    "bchw,bnmc->bmhwn",
    "...ij,...jk->...ik", "...ij->...ji", "b...c,cd->b...d", "i...->...", "...,...->...",
    "ij,ij->ij", "ij,i->ij", "abc,cd,de->abe", "i,j,k->ijk", " i j , j k -> i k ", "ijkl->lkji",
    "aBc,cB->aB", "...i,...i->...", "ii->i", "...ii->...i", "ii->", "bqc,bchw->bqhw",
]


def einsum(case):
    """Einsum: products, reductions, transposes, ellipses, diagonals, implicit outputs."""
    equation = EQUATIONS[(case.index * 7 + case.int(0, 2)) % len(EQUATIONS)]
    dtype = case.pick(f32=0.8, only=[F32, F16, I32, I64])
    sizes = {}
    ellipsis = [case.int(1, 3) for _ in range(case.int(0, 2))]
    arrays = []
    for term in equation.replace(" ", "").split("->")[0].split(","):
        dims = []
        head, dots, tail = term.partition("...")
        for letter in head:
            dims.append(sizes.setdefault(letter, case.int(1, 6)))
        if dots:
            dims += [1 if case.chance(0.2) else d for d in ellipsis]
        for letter in tail:
            dims.append(sizes.setdefault(letter, case.int(1, 6)))
        arrays.append(case.data(tuple(dims), dtype, -1.5, 1.5))
    names = [case.input(a) if i == 0 else case.param(a, "w", 0.6) for i, a in enumerate(arrays)]
    case.node(names, equation=equation)
    case.output(dtype)
    case.answer = lambda: [np.asarray(np.einsum(equation.replace(" ", ""),
                                                *[_wide(a) for a in arrays]))
                           .astype(F32 if dtype == F16 else dtype)]


BUILDERS.update(MatMul=matmul, Gemm=gemm, Einsum=einsum)
