"""A network as a graph of operations, so that only what changed is run again.

Taking one map away leaves everything below it, and everything beside it, as it was. So
a network is traced once; the values that a change cannot reach are kept, and only the
operations downstream of it are run, for many variants side by side along the batch
axis.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from napari_topiary.networks.base import Network
from napari_topiary.pruning.search.simplify import (
    compare_rows,
    is_pointwise,
    pointwise,
    pool_first,
    positions_used,
)

Values = dict[fx.Node, Any]
"""What operations have answered so far."""

_IN_PLACE_NAME = re.compile(r"[a-z]\w*[a-z0-9]_")
TOLERANCE = 1e-4
"""Relative to the largest logit: how far the traced network may be off."""
_PURE: dict[Any, Any] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
"""Operators that change what they read, and their twins that do not."""


@dataclass(frozen=True)
class Downstream:
    """What has to run again when some operations answer something else."""

    #: Operations to run, in order; the changed ones are not among them
    order: tuple[fx.Node, ...]
    #: Operations whose kept values are read, the same for every variant
    needed: tuple[fx.Node, ...]
    #: Runs them: logits from the answers of the changed operations, then the values of
    #: `needed`, then what is done to the input of each hooked operation
    run: Callable[..., torch.Tensor]


class OperationGraph:
    """The operations of a network on training patches, and how to run some of them.

    Parameters
    ----------
    network
        In evaluation mode. Its weights may change later, its operations may not.
    example
        `(b, c, y, x)` a few patches, to learn shapes from.
    """

    def __init__(self, network: Network, example: torch.Tensor) -> None:
        self.network = network
        graph = _Tracer().trace(network)
        self.nodes = tuple(graph.nodes)
        self._modules = dict(network.named_modules())
        self._make_pure()
        pool_first(self.nodes, self._modules)
        compare_rows(self.nodes, self._modules)
        self._image = next(node for node in self.nodes if node.op == "placeholder")
        self._answer = next(node for node in self.nodes if node.op == "output")
        self._varying = set(self._reached([self._image]))
        answers = self.run(example, keep=self.nodes)
        with torch.no_grad():
            expected = network.on_patches(example)
        _compare(answers[self._answer], expected)
        self._tensors = {
            node for node, value in answers.items() if isinstance(value, torch.Tensor)
        }
        self.layers = {
            str(node.target): node for node in self.nodes if node.op == "call_module"
        }
        count = len(example)
        self.values = {n: answers[n].numel() / count for n in self._tensors}
        self._shapes = {n: answers[n].shape for n in self._tensors}
        self.macs = {n: self._macs(n, answers) / count for n in self.layers.values()}

    def layer(self, name: str) -> nn.Module:
        """Return a layer by its name."""
        return self.network.get_submodule(name)

    def downstream(
        self, changed: Collection[fx.Node], hooked: Collection[fx.Node] = ()
    ) -> Downstream:
        """Find what has to run again when the answers of `changed` are others.

        Parameters
        ----------
        changed
            Operations that answer something else.
        hooked
            Operations downstream whose first input is to be changed as well.
        """
        reached = set(self._reached(changed))
        again = {node for node in reached if node not in changed}
        needed: dict[fx.Node, None] = {}
        waiting = list(again)
        while waiting:
            for source in waiting.pop().all_input_nodes:
                if source in reached or source in again or source in needed:
                    continue
                if source not in self._varying:
                    again.add(source)  # a weight, or something made of weights
                    waiting.append(source)
                elif source in self._tensors:
                    needed[source] = None
                else:  # a length, say, which is another with more variants at a time
                    again.add(source)
                    waiting.append(source)
        order = tuple(node for node in self.nodes if node in again)
        inputs = (*changed, *needed)
        return Downstream(order, tuple(needed), self._compiled(order, inputs, hooked))

    def _compiled(
        self,
        order: Sequence[fx.Node],
        inputs: Sequence[fx.Node],
        hooked: Collection[fx.Node],
    ) -> Callable[..., torch.Tensor]:
        """Write some operations down as a function of their own."""
        graph = fx.Graph()
        copies = {node: graph.placeholder(f"in_{node.name}") for node in inputs}
        hooks = {node: graph.placeholder(f"hook_{node.name}") for node in hooked}
        for node in order:
            copy = graph.node_copy(node, copies.__getitem__)
            copies[node] = copy
            self._simplify(copy)
            if node in hooks:
                first = copy.args[0]
                with graph.inserting_before(copy):
                    changed = graph.call_function(_hooked, (hooks[node], first))
                copy.args = (changed, *copy.args[1:])
        return fx.GraphModule(self.network, graph)

    def _simplify(self, node: fx.Node) -> None:
        """Let a convolution of single pixels be what it is, a product."""
        module = self._modules.get(str(node.target))
        if node.op == "call_module" and is_pointwise(module):
            name = str(node.target)
            with node.graph.inserting_before(node):
                weight = node.graph.get_attr(f"{name}.weight")
                bias = node.graph.get_attr(f"{name}.bias")
            node.op, node.target = "call_function", pointwise
            node.args = (node.args[0], weight, bias)

    def positions_used(self, node: fx.Node) -> tuple[int, int] | None:
        """Rows and columns of an answer that are looked at; None = all of them."""
        return positions_used(node, self._shapes[node], self._modules)

    def after(self, node: fx.Node) -> list[fx.Node]:
        """Operations that an operation can reach, itself not among them."""
        return [reached for reached in self._reached([node]) if reached is not node]

    @torch.no_grad()
    def run(self, image: torch.Tensor, keep: Collection[fx.Node] = ()) -> Values:
        """Run everything; return what is asked for, and the output's answer.

        Parameters
        ----------
        image
            `(b, c, y, x)`.
        keep
            Operations whose answers are wanted.
        """
        order = tuple(node for node in self.nodes if node is not self._image)
        values: Values = {self._image: image}
        wanted = {*keep, self._answer}
        self._execute(order, values, wanted)
        return {node: values[node] for node in wanted}

    def _execute(
        self, order: Sequence[fx.Node], values: Values, wanted: Collection[fx.Node]
    ) -> None:
        uses: dict[fx.Node, int] = {}
        for node in order:
            for source in node.all_input_nodes:
                uses[source] = uses.get(source, 0) + 1
        for node in order:
            values[node] = self._answered(node, values)
            for source in node.all_input_nodes:
                uses[source] -= 1
                if not uses[source] and source not in wanted:
                    del values[source]

    def _answered(self, node: fx.Node, values: Values) -> Any:
        if node.op == "get_attr":
            found: Any = self.network
            for name in str(node.target).split("."):
                found = getattr(found, name)
            return found
        found_args: Any = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
        args, kwargs = found_args
        if node.op == "output":
            return args[0]
        if node.op == "call_module":
            return self._modules[str(node.target)](*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        assert callable(node.target)
        return node.target(*args, **kwargs)

    def _make_pure(self) -> None:
        """Let no operation change what it reads: others may want it as it was."""
        for module in self._modules.values():
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[assignment]
        for node in self.nodes:
            if node.kwargs.get("inplace"):
                node.kwargs = {**node.kwargs, "inplace": False}
            name = str(getattr(node.target, "__name__", node.target))
            if node.target in _PURE:
                node.target = _PURE[node.target]
            elif node.target is operator.setitem:
                raise ValueError("the network writes into its maps")
            elif node.op != "call_module" and _IN_PLACE_NAME.fullmatch(name):
                node.target = _pure_twin(node)

    def _reached(self, sources: Collection[fx.Node]) -> list[fx.Node]:
        found = set(sources)
        for node in self.nodes:
            if any(source in found for source in node.all_input_nodes):
                found.add(node)
        return [node for node in self.nodes if node in found]

    def _macs(self, node: fx.Node, answers: Values) -> float:
        module, answer = self._modules[str(node.target)], answers[node]
        if not isinstance(module, _ConvNd | nn.Linear):
            return 0.0
        transposed = isinstance(module, _ConvTransposeNd)
        applied = answers[node.all_input_nodes[0]] if transposed else answer
        axis = -1 if isinstance(module, nn.Linear) else 1
        positions = applied.numel() / applied.shape[axis]
        return float(positions * module.weight.numel())


def _hooked(
    hook: Callable[[torch.Tensor], torch.Tensor], maps: torch.Tensor
) -> torch.Tensor:
    return hook(maps)


def _pure_twin(node: fx.Node) -> Any:
    """`relu` for `relu_`: the same function, answering in memory of its own."""
    if node.op == "call_method":
        return str(node.target).rstrip("_")
    name = str(getattr(node.target, "__name__", "")).rstrip("_")
    for home in (torch, nn.functional):
        if hasattr(home, name):
            return getattr(home, name)
    raise ValueError(f"{node.target} changes what it reads")


class _Tracer(fx.Tracer):
    """Follows what training calls."""

    traced_func_name = "on_patches"


def _compare(found: Any, expected: torch.Tensor) -> None:
    """Refuse a graph that does not say what the network says."""
    same = isinstance(found, torch.Tensor) and found.shape == expected.shape
    if same:
        error = float((found - expected).abs().max())
        same = error <= TOLERANCE * max(float(expected.abs().max()), 1e-6)
    if not same:
        raise ValueError("the traced network says something else")
