"""What every op computes, in plain float64 NumPy: loops, obviously right, never fast. Same names, same options."""

import numpy as np


def add(a, b):
    return a + b


def sub(a, b):
    return a - b


def mul(a, b):
    return a * b


def div(a, b):
    return a / b


def neg(a):
    return -a


def matmul(a, b):
    return np.einsum("...ij,...jk->...ik", a, b)


def relu(x):
    return np.where(x > 0, x, 0)


def tanh(x):
    return (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sqrt(x):
    return x**0.5


def cast(x, dtype):
    return np.array(x, dtype)


def sum(x, axis=None, keepdims=False):
    return np.sum(x, axis=axis, keepdims=keepdims)


def mean(x, axis=None, keepdims=False):
    return np.mean(x, axis=axis, keepdims=keepdims)


def squared_distance(a, b, weight):
    return np.asarray(np.sum([w * np.sum((p - q) ** 2) for w, p, q in zip(weight, a, b, strict=True)]))


def relative_distance(a, target, weight=None):
    weight = np.ones(len(a)) if weight is None else weight
    parts = [w * np.sum((p - q) ** 2) / np.sum(q**2) for w, p, q in zip(weight, a, target, strict=True)]
    return np.asarray(np.mean(parts))


def reshape(x, shape):
    return np.array(list(x.flat)).reshape(shape)


def concat(*parts, axis=-1):
    return np.moveaxis(np.array([row for part in parts for row in np.moveaxis(part, axis, 0)]), 0, axis)


def narrow(x, start, length):
    return np.moveaxis(np.array([x[..., start + i] for i in range(length)]), 0, -1)


def crop(x, top, left, height, width):
    return np.array([[[row[left + j] for j in range(width)] for row in n[top : top + height]] for n in x])


def source(i, n, mode):
    """The pixel that position `i` of a padded axis repeats, or None for zero: step by step back into the picture."""
    if 0 <= i < n:
        return i
    if mode == "zero":
        return None
    if mode == "edge" or n == 1:
        return 0 if i < 0 else n - 1
    return source(-i if i < 0 else 2 * (n - 1) - i, n, mode)


def pad(x, pad, mode="zero"):
    top, bottom, left, right = (pad,) * 4 if isinstance(pad, int) else pad
    N, H, W, C = x.shape
    y = np.zeros((N, top + H + bottom, left + W + right, C))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            k, m = source(i - top, H, mode), source(j - left, W, mode)
            if k is not None and m is not None:
                y[:, i, j] = x[:, k, m]
    return y


def upsample(x, factor=2):
    N, H, W, C = x.shape
    y = np.zeros((N, factor * H, factor * W, C))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            y[:, i, j] = x[:, i // factor, j // factor]
    return y


def conv2d(x, w, b=None, *, stride=1, pad=0, mode="zero", upsample=1, relu=False, statistics=False):
    x = globals()["pad"](globals()["upsample"](x, upsample), pad, mode)
    K, L, _, M = w.shape
    H, W = (x.shape[1] - K) // stride + 1, (x.shape[2] - L) // stride + 1
    y = np.zeros((x.shape[0], H, W, M))
    for i in range(H):
        for j in range(W):
            window = x[:, stride * i : stride * i + K, stride * j : stride * j + L]
            y[:, i, j] = np.einsum("nklc,klcm->nm", window, w)
    if b is not None:
        y = y + b
    return np.where(y > 0, y, 0) if relu else y


def conv_transpose2d(x, w, b=None, *, stride=1, pad=0, output_pad=0):
    N, H, W, _ = x.shape
    K, L, _, M = w.shape
    canvas = np.zeros((N, (H - 1) * stride + K + output_pad, (W - 1) * stride + L + output_pad, M))
    for i in range(H):
        for j in range(W):
            canvas[:, stride * i : stride * i + K, stride * j : stride * j + L] += np.einsum(
                "nc,klcm->nklm", x[:, i, j], w
            )
    y = canvas[:, pad : canvas.shape[1] - pad, pad : canvas.shape[2] - pad]
    return y if b is None else y + b


def depthwise_conv2d(x, w, b=None, *, stride=1):
    channels = [conv2d(x[..., c : c + 1], w[:, :, c, None, None], stride=stride) for c in range(x.shape[3])]
    y = np.concatenate(channels, axis=3)
    return y if b is None else y + b


def _windows(x, size, stride):
    H, W = (x.shape[1] - size) // stride + 1, (x.shape[2] - size) // stride + 1
    return np.array(
        [[x[:, stride * i :, stride * j :][:, :size, :size] for j in range(W)] for i in range(H)]
    ).transpose(2, 0, 1, 3, 4, 5)


def max_pool(x, size=2, stride=2):
    return _windows(x, size, stride).max(axis=(3, 4))


def avg_pool(x, size=2, stride=2):
    return _windows(x, size, stride).mean(axis=(3, 4))


def batch_norm(x, gamma, beta, *, running=None, relu=False, eps=1e-5):
    y = np.zeros_like(x)
    for c in range(x.shape[3]):
        mean, variance = (x[..., c].mean(), x[..., c].var()) if running is None else (r[c] for r in running)
        y[..., c] = gamma[c] * (x[..., c] - mean) / np.sqrt(variance + eps) + beta[c]
    return np.where(y > 0, y, 0) if relu else y


def cin(x, gamma, beta, residual=None, *, style=None, relu=False, statistics=None, eps=1e-5):
    y = np.zeros_like(x)
    for n in range(x.shape[0]):
        if style is None:
            g, b = (p if p.ndim == 1 else p[n if len(p) > 1 else 0] for p in (gamma, beta))
        elif style.ndim == 1:
            g, b = gamma[style[n]], beta[style[n]]
        else:
            g, b = (np.sum([m * row for m, row in zip(style[n], p, strict=True)], axis=0) for p in (gamma, beta))
        for c in range(x.shape[3]):
            f = x[n, :, :, c]
            y[n, :, :, c] = g[c] * (f - f.mean()) / np.sqrt(f.var() + eps) + b[c]
    if residual is not None:
        y = y + residual
    return np.where(y > 0, y, 0) if relu else y


def instance_norm(x, gamma, beta, residual=None, **options):
    return cin(x, gamma, beta, residual, **options)


def statistics(x, *, eps=1e-5):
    rows = [[f.mean() for f in picture.T] + [np.sqrt(f.var() + eps) for f in picture.T] for picture in x]
    return np.array(rows)


def gram(x):
    N, H, W, C = x.shape
    G = np.zeros((N, C, C))
    for i in range(C):
        for j in range(C):
            G[:, i, j] = (x[..., i] * x[..., j]).sum(axis=(1, 2)) / (H * W)
    return G


def total_variation(x):
    total = 0.0
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            if i:
                total += ((x[:, i, j] - x[:, i - 1, j]) ** 2).sum()
            if j:
                total += ((x[:, i, j] - x[:, i, j - 1]) ** 2).sum()
    return np.asarray(total / x.size)


def content_loss(F, P, *, scale="relative"):
    if scale == "paper":
        return np.asarray(0.5 * ((F - P) ** 2).sum())
    return np.asarray(np.mean([((f - p) ** 2).sum() / (p**2).sum() for f, p in zip(F, P, strict=True)]))


def style_loss(G, A, *, scale="relative", weight=None):
    weight = np.ones(len(G)) if weight is None else weight
    total = 0.0
    for g, a, w in zip(G, A, weight, strict=True):
        share = 1 / (4 * g.shape[0] ** 2) if scale == "paper" else 1 / ((a**2).sum() * len(G))
        total += w * share * ((g - a) ** 2).sum()
    return np.asarray(total)


def grid_loss(y, *, period=4):
    N, H, W, C = y.shape
    H, W = H // period * period, W // period * period
    means = np.zeros((N, period, period, C))
    for i in range(H):
        for j in range(W):
            means[:, i % period, j % period] += y[:, i, j] / (H * W / period**2)
    return np.asarray(means.var(axis=(1, 2)).mean())


def palette(y):
    N, H, W, _ = y.shape
    out = np.zeros((N, 4, 3))
    for n in range(N):
        colors = []
        for i in range(H // 4):
            for j in range(W // 4):
                r, g, b = y[n, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4].reshape(16, 3).mean(axis=0)
                colors.append([(r + g + b) / 3**0.5, 4 * (r - g) / 2**0.5, 4 * (r + g - 2 * b) / 6**0.5])
        colors = np.array(colors)
        out[n, 0] = colors.mean(axis=0)
        out[n, 1:] = np.cov(colors.T, bias=True) if len(colors) > 1 else 0
    return out


def palette_loss(P, A, *, weight=None):
    total = 0.0
    for n in range(len(P)):
        covariance = A[n, 1:]
        mean = ((P[n, 0] - A[n, 0]) ** 2).sum() / max(np.trace(covariance), 0.15)
        spread = ((P[n, 1:] - covariance) ** 2).sum() / max((covariance**2).sum(), 0.02)
        total += (mean + spread) * (1.0 if weight is None else weight[n]) / len(P)
    return np.asarray(total)
