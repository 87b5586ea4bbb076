"""Writes networks of torch as ONNX files: with their weights, or as graphs that take them from a file at load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detection.common.files import replace_file


def write_network(
    net: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    shapes: Mapping[str, dict[int, object]],
    path: Path,
    names: Mapping[str, str] | None = None,
) -> None:
    """Writes a network as one ONNX file. inputs: examples, by the names of `forward`'s arguments, and in their order.

    shapes: which dimensions of which input may change, as `torch.export` takes them.
    names: None writes the weights into the file. Else the file is a graph without them: each parameter and buffer that
        takes part is noted as lying elsewhere, under the name that stands here for its own (see `names_in_file`), and
        nothing in the graph depends on its values.
    """
    with torch.no_grad():
        program = torch.onnx.export(
            net.eval(),
            tuple(inputs.values()),
            dynamo=True,
            dynamic_shapes=tuple(shapes.get(name, {}) for name in inputs),
            input_names=list(inputs),
            output_names=list(outputs),
            optimize=names is None,
            verbose=False,
        )
    assert program is not None  # only the older exporter, without dynamo, gives none
    model = program.model
    if names is not None:
        _take_weights_out(model, names)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # where in whose source tree it comes from
        node.doc_string = None
    if names is None:
        program.save(str(path), external_data=False)
        return
    import onnx_ir

    model.producer_version = torch.__version__.partition("+")[0]
    proto = onnx_ir.to_proto(model)
    del proto.graph.value_info[:]  # shapes in between, which ONNX Runtime works out itself: half of the file
    replace_file(path, proto.SerializeToString(deterministic=True))


def names_in_file(net: nn.Module, stored: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    """The names of a network's tensors in a file, by its own names for them.

    stored: name in the file, and the very tensor of `net`; those that `net` does not have are left out.
    """
    own = {id(tensor): name for name, tensor in net.state_dict(keep_vars=True).items()}
    return {own[id(tensor)]: name for name, tensor in stored if id(tensor) in own}


def _take_weights_out(model: Any, names: Mapping[str, str]) -> None:
    """model: of onnx_ir, as exported without any optimization, which is done here."""
    import onnx_ir
    from onnxscript import optimizer

    graph, weights = model.graph, []
    # As inputs of the graph they have no values that an optimization could work in.
    for name in [name for name in graph.initializers if name in names]:
        value = graph.initializers.pop(name)
        weights.append((value, value.const_value.shape))
        value.const_value = None
        graph.inputs.append(value)
    optimizer.optimize(model)
    for value, shape in weights:
        graph.inputs.remove(value)
        if not value.uses():
            continue
        value.name = names[value.name]
        value.const_value = onnx_ir.ExternalTensor(
            "weights", None, None, onnx_ir.DataType.FLOAT, shape=shape, name=value.name
        )
        graph.initializers.add(value)
