"""Layers as objects: forward(X) keeps what backward(dY) needs, parameters and gradients live in attributes."""

import numpy as np


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
