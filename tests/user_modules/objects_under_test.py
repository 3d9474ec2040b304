"""Layer objects in many conventions; leaks and omissions are deliberate."""
# ruff: noqa: NPY002, RUF012 - as people write them

import numpy as np


class Base:
    """y = x W + b with W (3, 2), kept in attributes."""

    def __init__(self, scale=1.0):
        self.W = scale * np.random.randn(3, 2)
        self.b = np.array([0.5, -0.25])

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b


class Attributes(Base):
    def backward(self, dy):
        self.dW, self.db = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.W.T


class GradAttributes(Base):
    def backward(self, dy):
        self.grad_W, self.grad_b = self.x.T @ dy, dy.sum(axis=0)
        return dy @ self.W.T


class StoresInputGradient(Attributes):
    """backward returns nothing; the input, its gradient and a hidden value with a gradient are attributes too."""

    def forward(self, x):
        self.hidden = 1.0 * x
        return super().forward(x)

    def backward(self, dy):
        self.dx = super().backward(dy)
        self.dhidden = self.dx


class Mappings(Base):
    """The mappings share their arrays with attributes, which forward uses."""

    def __init__(self):
        super().__init__()
        self.params = {"W": self.W, "b": self.b}
        self.grads = {}

    def backward(self, dy):
        self.grads["dW"], self.grads["db"] = self.x.T @ dy, dy.sum(axis=0)
        return {"x": dy @ self.W.T}


class Lists(Base):
    def __init__(self):
        super().__init__()
        self.params = [self.W, self.b]
        self.grads = [np.zeros_like(self.W), np.zeros_like(self.b)]

    def backward(self, dy):
        self.grads[0][...] = self.x.T @ dy
        self.grads[1][...] = dy.sum(axis=0)
        return dy @ self.W.T


class OtherNames(Base):
    def __init__(self):
        super().__init__()
        self.weights = {"W": self.W, "b": self.b}
        self.slopes = {}

    def run(self, x):
        return super().forward(x)

    def back(self, dy):
        self.slopes |= {"W": self.x.T @ dy, "b": dy.sum(axis=0)}
        return dy @ self.W.T


class Accumulating(Base):
    """Lazy, remembers every forward, adds gradients up, counts its calls."""

    def __init__(self):
        self.W = self.b = None
        self.seen, self.remembered, self.calls = [], {"x": []}, 0

    def forward(self, x):
        if self.W is None:
            Base.__init__(self)
            self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)
        self.calls += 1
        self.seen.append(x)
        self.remembered["x"].append(x)
        return super().forward(x)

    def backward(self, dy):
        (x,), (again,) = self.seen, self.remembered["x"]
        assert x is again
        self.dW += x.T @ dy
        self.db += dy.sum(axis=0)
        return dy @ self.W.T


class ForgetsBias(Attributes):
    def __init__(self):
        super().__init__()
        self.db = None

    def backward(self, dy):
        self.dW = self.x.T @ dy
        return dy @ self.W.T


class NoGradient(Mappings):
    def backward(self, dy):
        self.grads["W"] = self.x.T @ dy
        return dy @ self.W.T


class Running(Attributes):
    """A running mean, and a float array without any gradient."""

    def __init__(self):
        super().__init__()
        self.mean, self.fixed = np.zeros(3), np.ones(2)

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.mean(axis=0)
        return self.fixed * super().forward(x)


class TwoInputs:
    def forward(self, a, power, b):
        self.kept = a, power, b
        return a**power, a * b

    def backward(self, dp, dq):
        a, power, b = self.kept
        return dp * power * a ** (power - 1) + dq * b, dq * a


class Embedding:
    def __init__(self, rows):
        self.table = np.random.randn(rows, 2)
        self.seen = []

    def forward(self, indices):
        self.seen.append(indices)
        return self.table[indices]

    def backward(self, dy):
        self.dtable = np.zeros_like(self.table)
        (indices,) = self.seen
        np.add.at(self.dtable, indices, dy)


class Leaking(Attributes):
    calls = []

    def forward(self, x):
        type(self).calls.append(1)
        return len(self.calls) * super().forward(x)


class Uncopyable(Attributes):
    def __deepcopy__(self, memo):
        raise TypeError("one of a kind")


class NoBackward:
    def forward(self, x):
        return x


class Named:
    def forward(self, x):
        self.x = x
        return x

    def backward(self, dy):
        self.dx = dy
        return dy
