"""Floor 1: the vocabulary. Every op is one function: forward first, then a small closure per gradient."""

from nanostyle.ops.conv import conv2d, conv_transpose2d
from nanostyle.ops.gram import gram, total_variation
from nanostyle.ops.math import cast, mean, relative_distance, relu, sigmoid, sqrt, squared_distance, sum, tanh
from nanostyle.ops.norm import batch_norm, cin, instance_norm, statistics
from nanostyle.ops.pool import avg_pool, max_pool
from nanostyle.ops.shape import concat, crop, narrow, pad, reshape, upsample
from nanostyle.tensor import add, div, matmul, mul, neg, sub

__all__ = [
    "add",
    "avg_pool",
    "batch_norm",
    "cast",
    "cin",
    "concat",
    "conv2d",
    "conv_transpose2d",
    "crop",
    "div",
    "gram",
    "instance_norm",
    "matmul",
    "max_pool",
    "mean",
    "mul",
    "narrow",
    "neg",
    "pad",
    "relative_distance",
    "relu",
    "reshape",
    "sigmoid",
    "sqrt",
    "squared_distance",
    "statistics",
    "sub",
    "sum",
    "tanh",
    "total_variation",
    "upsample",
]
