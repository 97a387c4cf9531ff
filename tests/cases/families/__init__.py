"""The builders of the operator cases, by family: BUILDERS[operator](case) fills one case."""

from . import convolution, elementwise, indexing, matrix, pooling, reduction, resampling, shaping

BUILDERS = {}
for _module in (convolution, elementwise, indexing, matrix, pooling, reduction, resampling,
                shaping):
    BUILDERS.update(_module.BUILDERS)
