"""One step of a recurrent layer and its gradient, and the walk over time that both directions share.

z = x Wᵀ + b comes ready; `states` is (h,) or (h, c); U maps h to the gates, the rows of one after those of another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from gradcheck_cli.layer import Array
from gradcheck_cli.layers.matrices import outer_sum, swap
from gradcheck_cli.layers.special import sigmoid

States: TypeAlias = tuple[Array, ...]
Step: TypeAlias = Callable[[Array, States, Array], States]
StepVjp: TypeAlias = Callable[[States, Array, States, Array], tuple[Array, States, Array]]


def tanh_step(z: Array, states: States, U: Array) -> States:
    """h' = tanh(z + U h)."""
    return (np.tanh(z + states[0] @ swap(U)),)


def relu_step(z: Array, states: States, U: Array) -> States:
    """h' = max(z + U h, 0)."""
    a = z + states[0] @ swap(U)
    return (np.where(a.real > 0, a, np.zeros_like(a)),)


def tanh_step_vjp(d: States, z: Array, states: States, U: Array) -> tuple[Array, States, Array]:
    """Return dz, the gradients of the states before, and dU."""
    y = tanh_step(z, states, U)[0]
    dz = d[0] * (1 - y * y)
    return dz, (dz @ U,), outer_sum(dz, states[0])


def relu_step_vjp(d: States, z: Array, states: States, U: Array) -> tuple[Array, States, Array]:
    """Return dz, the gradients of the states before, and dU; the kink counts as flat."""
    dz = d[0] * (relu_step(z, states, U)[0].real > 0)
    return dz, (dz @ U,), outer_sum(dz, states[0])


def _lstm_gates(z: Array, h: Array, U: Array) -> tuple[Array, Array, Array, Array]:
    i, f, g, o = np.split(z + h @ swap(U), 4, axis=-1)
    return sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)


def lstm_step(z: Array, states: States, U: Array) -> States:
    """c' = f c + i g, h' = o tanh(c')."""
    h, c = states
    i, f, g, o = _lstm_gates(z, h, U)
    c_next = f * c + i * g
    return o * np.tanh(c_next), c_next


def lstm_step_vjp(d: States, z: Array, states: States, U: Array) -> tuple[Array, States, Array]:
    """Return dz, the gradients of the states before, and dU."""
    h, c = states
    i, f, g, o = _lstm_gates(z, h, U)
    t = np.tanh(f * c + i * g)
    dc = d[1] + d[0] * o * (1 - t * t)
    gates = (dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), d[0] * t * o * (1 - o))
    dz = np.concatenate(gates, axis=-1)
    return dz, (dz @ U, dc * f), outer_sum(dz, h)


def _gru_gates(z: Array, h: Array, U: Array, reset_after: bool) -> tuple[Array, Array, Array, Array]:
    """Return r, u, n and what the reset gate multiplies: U_n h, or h itself."""
    size = h.shape[-1]
    r, u = np.split(sigmoid(z[..., : 2 * size] + h @ swap(U[..., : 2 * size, :])), 2, axis=-1)
    U_n = swap(U[..., 2 * size :, :])
    inner = h @ U_n if reset_after else h
    n = np.tanh(z[..., 2 * size :] + (r * inner if reset_after else (r * h) @ U_n))
    return r, u, n, inner


def gru_step(z: Array, states: States, U: Array, *, reset_after: bool) -> States:
    """h' = (1 - u) n + u h."""
    _, u, n, _ = _gru_gates(z, states[0], U, reset_after)
    return ((1 - u) * n + u * states[0],)


def gru_step_vjp(d: States, z: Array, states: States, U: Array, *, reset_after: bool) -> tuple[Array, States, Array]:
    """Return dz, the gradients of the states before, and dU."""
    h = states[0]
    r, u, n, inner = _gru_gates(z, h, U, reset_after)
    U_ru, U_n = np.split(U, [2 * h.shape[-1]], axis=0)
    d_n = d[0] * (1 - u) * (1 - n * n)
    d_reset = d_n if reset_after else d_n @ U_n
    d_r, d_u = d_reset * inner * r * (1 - r), d[0] * (h - n) * u * (1 - u)
    d_ru = np.concatenate((d_r, d_u), axis=-1)
    through_n = (d_n * r) @ U_n if reset_after else d_reset * r
    dh = d[0] * u + d_ru @ U_ru + through_n
    dU_n = outer_sum(d_n * r, h) if reset_after else outer_sum(d_n, r * h)
    return np.concatenate((d_ru, d_n), axis=-1), (dh,), np.concatenate((outer_sum(d_ru, h), dU_n))


def walk(step: Step, z: Array, states: States, U: Array) -> list[States]:
    """Return the states before the first step and after each, over the times in the last axis but one of z."""
    passed = [states]
    for t in range(z.shape[-2]):
        passed.append(step(z[..., t, :], passed[-1], U))
    return passed


def walk_vjp(step_vjp: StepVjp, dy: Array, z: Array, passed: list[States], U: Array) -> tuple[Array, States, Array]:
    """Gradients of z, of the first states and of U, where dy (..., T, H) is that of h after each step."""
    d = tuple(np.zeros_like(state) for state in passed[0])
    dz, dU = np.empty_like(z), np.zeros_like(U)
    for t in range(z.shape[-2] - 1, -1, -1):
        d = (d[0] + dy[..., t, :], *d[1:])
        dz[..., t, :], d, dU_t = step_vjp(d, z[..., t, :], passed[t], U)
        dU += dU_t
    return dz, d, dU
