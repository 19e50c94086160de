"""The vocabulary. Every op is one function: forward first, then a small closure per gradient."""

from nanostyle.autograd.ops.conv import conv2d, conv_transpose2d
from nanostyle.autograd.ops.depthwise import depthwise_conv2d
from nanostyle.autograd.ops.gram import gram
from nanostyle.autograd.ops.math import cast, mean, relative_distance, relu, sigmoid, sqrt, squared_distance, sum, tanh
from nanostyle.autograd.ops.norm import batch_norm, cin, instance_norm, statistics
from nanostyle.autograd.ops.pool import avg_pool, max_pool
from nanostyle.autograd.ops.shape import concat, crop, narrow, pad, reshape, upsample
from nanostyle.autograd.ops.variation import total_variation
from nanostyle.autograd.tensor import add, div, matmul, mul, neg, sub

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
    "depthwise_conv2d",
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
