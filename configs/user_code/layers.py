"""Layers written by hand in numpy, in the conventions that courses and projects use. Copy, change, check.

Functions: forward(x, ...) -> (out, cache) and backward(dout, cache) -> gradients in the order of the arguments.
Objects: forward(X) keeps what backward(dY) needs; parameters and gradients live in attributes.
"""
# ruff: noqa: D103, NPY002, RUF059 - as people write them

import numpy as np


def affine_forward(x, w, b):
    """Rows of any shape, flattened, times w (D, M), plus b (M,)."""
    out = x.reshape(x.shape[0], -1) @ w + b
    return out, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    dx = (dout @ w.T).reshape(x.shape)
    dw = x.reshape(x.shape[0], -1).T @ dout
    return dx, dw, dout.sum(axis=0)


def relu_forward(x):
    return np.maximum(x, 0), x


def relu_backward(dout, cache):
    return dout * (cache > 0)


def batchnorm_forward(x, gamma, beta, bn_param):
    """Normalise each feature over the batch; the running mean and variance live in bn_param."""
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    running_mean = np.asarray(bn_param.get("running_mean", np.zeros(x.shape[1])))
    running_var = np.asarray(bn_param.get("running_var", np.ones(x.shape[1])))
    if bn_param["mode"] == "test":
        std = np.sqrt(running_var + eps)
        xhat = (x - running_mean) / std
        return gamma * xhat + beta, (xhat, gamma, std, "test")
    mean, var = x.mean(axis=0), x.var(axis=0)
    bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mean
    bn_param["running_var"] = momentum * running_var + (1 - momentum) * var
    std = np.sqrt(var + eps)
    xhat = (x - mean) / std
    return gamma * xhat + beta, (xhat, gamma, std, "train")


def batchnorm_backward(dout, cache):
    xhat, gamma, std, mode = cache
    dxhat = dout * gamma
    if mode == "train":
        dxhat = dxhat - dxhat.mean(axis=0) - xhat * (dxhat * xhat).mean(axis=0)
    return dxhat / std, (dout * xhat).sum(axis=0), dout.sum(axis=0)


def layernorm_forward(x, gamma, beta, ln_param):
    """Normalise each row over its features."""
    std = np.sqrt(x.var(axis=1, keepdims=True) + ln_param.get("eps", 1e-5))
    xhat = (x - x.mean(axis=1, keepdims=True)) / std
    return gamma * xhat + beta, (xhat, gamma, std)


def layernorm_backward(dout, cache):
    xhat, gamma, std = cache
    dxhat = dout * gamma
    inner = dxhat - dxhat.mean(axis=1, keepdims=True) - xhat * (dxhat * xhat).mean(axis=1, keepdims=True)
    return inner / std, (dout * xhat).sum(axis=0), dout.sum(axis=0)


def dropout_forward(x, dropout_param):
    """Keep each entry with probability p, scaled by 1 / p; a seed makes the mask the same in every call."""
    p = dropout_param["p"]
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])
    if dropout_param["mode"] == "test":
        return x, (dropout_param, None)
    mask = (np.random.rand(*x.shape) < p) / p
    return x * mask, (dropout_param, mask)


def dropout_backward(dout, cache):
    dropout_param, mask = cache
    return dout if dropout_param["mode"] == "test" else dout * mask


def conv_forward(x, w, b, conv_param):
    """Cross-correlate x (N, C, H, W) with w (F, C, HH, WW), zero padding `pad`, step `stride`."""
    pad, stride = conv_param["pad"], conv_param["stride"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows = (padded.shape[2] - w.shape[2]) // stride + 1
    columns = (padded.shape[3] - w.shape[3]) // stride + 1
    out = np.zeros((x.shape[0], w.shape[0], rows, columns), dtype=x.dtype)
    for i in range(rows):
        for j in range(columns):
            window = padded[:, :, i * stride : i * stride + w.shape[2], j * stride : j * stride + w.shape[3]]
            out[:, :, i, j] = np.einsum("nchw,fchw->nf", window, w) + b
    return out, (x, w, b, conv_param)


def conv_backward(dout, cache):
    x, w, b, conv_param = cache
    pad, stride = conv_param["pad"], conv_param["stride"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            at = np.s_[:, :, i * stride : i * stride + w.shape[2], j * stride : j * stride + w.shape[3]]
            dw += np.einsum("nf,nchw->fchw", dout[:, :, i, j], padded[at])
            dpadded[at] += np.einsum("nf,fchw->nchw", dout[:, :, i, j], w)
    dx = dpadded[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]
    return dx, dw, dout.sum(axis=(0, 2, 3))


def max_pool_forward(x, pool_param):
    height, width, stride = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    rows, columns = (x.shape[2] - height) // stride + 1, (x.shape[3] - width) // stride + 1
    out = np.zeros((*x.shape[:2], rows, columns), dtype=x.dtype)
    for i in range(rows):
        for j in range(columns):
            out[:, :, i, j] = x[:, :, i * stride : i * stride + height, j * stride : j * stride + width].max(
                axis=(2, 3)
            )
    return out, (x, pool_param)


def max_pool_backward(dout, cache):
    x, pool_param = cache
    height, width, stride = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    dx = np.zeros_like(x)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            at = np.s_[:, :, i * stride : i * stride + height, j * stride : j * stride + width]
            best = x[at] == x[at].max(axis=(2, 3), keepdims=True)
            dx[at] += best * dout[:, :, i, j, None, None]
    return dx


def svm_loss(x, y):
    """Multiclass hinge loss with margin 1 of scores x (N, C) for labels y (N,)."""
    rows = np.arange(len(y))
    margins = np.maximum(0, x - x[rows, y][:, None] + 1)
    margins[rows, y] = 0
    dx = (margins > 0).astype(x.dtype)
    dx[rows, y] = -dx.sum(axis=1)
    return margins.sum() / len(y), dx / len(y)


def softmax_loss(x, y):
    """Cross entropy of the softmax of scores x (N, C) for labels y (N,)."""
    rows = np.arange(len(y))
    shifted = x - x.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    dx = np.exp(log_p)
    dx[rows, y] -= 1
    return -log_p[rows, y].mean(), dx / len(y)


def ridge_loss(w, X, t, penalty=0.1):
    """Squared error with an L2 penalty; its gradients come in a mapping. X and t are data."""
    error = X @ w - t
    return (error**2).mean() + penalty * (w**2).sum(), {"w": 2 * X.T @ error / len(t) + 2 * penalty * w}


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    next_h = np.tanh(x @ Wx + prev_h @ Wh + b)
    return next_h, (x, prev_h, Wx, Wh, next_h)


def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, next_h = cache
    da = dnext_h * (1 - next_h**2)
    return da @ Wx.T, da @ Wh.T, x.T @ da, prev_h.T @ da, da.sum(axis=0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_step_forward(x, prev_h, prev_c, Wx, Wh, b):
    """Two outputs, next_h and next_c; the gates i, f, o, g lie side by side in Wx (D, 4H), Wh (H, 4H) and b (4H,)."""
    a = x @ Wx + prev_h @ Wh + b
    i, f, o, g = np.split(a, 4, axis=1)
    i, f, o, g = sigmoid(i), sigmoid(f), sigmoid(o), np.tanh(g)
    next_c = f * prev_c + i * g
    next_h = o * np.tanh(next_c)
    return next_h, next_c, (x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c)


def lstm_step_backward(dnext_h, dnext_c, cache):
    x, prev_h, prev_c, Wx, Wh, i, f, o, g, next_c = cache
    t = np.tanh(next_c)
    dc = dnext_c + dnext_h * o * (1 - t**2)
    da = np.hstack([dc * g * i * (1 - i), dc * prev_c * f * (1 - f), dnext_h * t * o * (1 - o), dc * i * (1 - g**2)])
    return da @ Wx.T, da @ Wh.T, dc * f, x.T @ da, prev_h.T @ da, da.sum(axis=0)


def swish(x, beta):
    """No cache: backward takes the arrays again."""
    return x * sigmoid(beta * x)


def swish_backward(dout, x, beta):
    s = sigmoid(beta * x)
    return {"dx": dout * (s + beta * x * s * (1 - s)), "dbeta": (dout * x**2 * s * (1 - s)).sum()}


class FullyConnected:
    """Y = tanh(X W + b); W and b are made at the first forward, and gradients add up until they are cleared."""

    def __init__(self, n_out):
        self.n_out = n_out
        self.X = []
        self.parameters = {"W": None, "b": None}
        self.gradients = {}

    def forward(self, X):
        if self.parameters["W"] is None:
            self.parameters["W"] = np.random.randn(X.shape[1], self.n_out) / np.sqrt(X.shape[1])
            self.parameters["b"] = np.full((1, self.n_out), 0.1)
            self.gradients = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        self.X.append(X)
        return np.tanh(X @ self.parameters["W"] + self.parameters["b"])

    def backward(self, dY):
        X = self.X[0]
        Y = np.tanh(X @ self.parameters["W"] + self.parameters["b"])
        dZ = dY * (1 - Y**2)
        self.gradients["W"] += X.T @ dZ
        self.gradients["b"] += dZ.sum(axis=0, keepdims=True)
        return dZ @ self.parameters["W"].T


class Bilinear:
    """Y = (X1 W) * X2, two inputs; the parameter is an attribute, its gradient another."""

    def __init__(self, n_in, n_out):
        self.W = np.random.randn(n_in, n_out)
        self.dW = None

    def forward(self, X1, X2):
        self.cache = X1, X2
        return (X1 @ self.W) * X2

    def backward(self, dY):
        X1, X2 = self.cache
        self.dW = X1.T @ (dY * X2)
        return (dY * X2) @ self.W.T, dY * (X1 @ self.W)
