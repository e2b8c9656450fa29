"""Embedding by OpenVINO, an extra that is faster than torch on CPUs without amx; only this module imports it."""

import importlib.util
import logging
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import TextError
from kgrec.text.language_model import Embed, LanguageModel, Precision, quiet

if TYPE_CHECKING:
    from torch import Tensor, nn

_GROUP = 64  # inputs that share a scale in int8: smaller groups are slower, larger ones less exact
_VALUES = 2  # the place of the values among the inputs of attention
_LEAST = np.float32(1e-6)  # the least divisor


def find_openvino(device: str) -> None:
    """Checks that OpenVINO is installed and that the device is a CPU.

    Raises:
        TextError: OpenVINO is missing, or the device is another.
    """
    if importlib.util.find_spec("openvino") is None:
        raise TextError(
            "the backend 'openvino' is not installed; expected the package openvino: "
            "install it with: pip install 'kgrec[openvino]', or use the backend 'torch'"
        )
    if device != "cpu":
        raise TextError(f"the backend 'openvino' needs a CPU, got the device {device!r}: use the backend 'torch'")


def compile_model(
    model: LanguageModel, precision: Precision, *, bf16: bool, streams: int, probes: Sequence[str]
) -> Embed:
    """Compiles a language model.

    Args:
        model: the model, in fp32.
        precision: of the computation; "int8" applies to the linear layers, which are most of the work.
        bf16: whether everything but the linear layers is computed in bf16 when the precision is int8.
        streams: how many batches are computed in parallel.
        probes: texts to measure the range of the network's inputs on.

    Raises:
        TextError: the model cannot be compiled.
    """
    import openvino
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.layers = model.network, model.layers

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return model.embed_padded(ids, mask)

    ids, mask = model.pad([[1, 1, 1], [1, 1]])
    logging.getLogger("openvino").setLevel(logging.ERROR)
    try:
        with quiet(), warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # tracing warns of branches that depend on the shape
            network = Network().eval()
            graph = openvino.convert_model(network, example_input={"ids": ids, "mask": mask})
            if precision == "int8":
                _round_weights(graph, _measure_inputs(network, model, probes))
        graph.reshape({place: [-1, -1] for place in (0, 1)})
        settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16", "int8": "bf16" if bf16 else "f32"}[precision],
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": _GROUP if precision == "int8" else 0,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # a pinned thread waits for other work on its core
        }
        compiled = openvino.Core().compile_model(graph, "CPU", settings)
    except Exception as error:  # an unknown architecture can make this raise anything
        raise TextError(
            f"OpenVINO cannot compile the text encoder {model.name!r}: {type(error).__name__}: {str(error)[:300]}; "
            f"use the backend 'torch'"
        ) from error

    idle: list[Any] = []  # requests are reused with their memory

    def embed(ids: "Tensor", mask: "Tensor") -> NDArray[np.float32]:
        try:
            request = idle.pop()
        except IndexError:  # all are in use
            request = compiled.create_infer_request()
        vectors: NDArray[np.float32] = request.infer([ids.numpy(), mask.numpy()])[0].copy()
        idle.append(request)
        return vectors

    return embed


def _measure_inputs(
    network: "nn.Module", model: LanguageModel, probes: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """The largest absolute value of each input of each linear layer: (n_in,) by OpenVINO's name of the layer."""
    import torch

    largest: dict[str, NDArray[np.float32]] = {}

    def measure(name: str, _: "nn.Module", inputs: tuple["Tensor", ...]) -> None:
        seen = inputs[0].abs().flatten(end_dim=-2).amax(dim=0).numpy()
        largest[name] = np.maximum(largest.get(name, 0.0), seen)

    hooks = [
        part.register_forward_pre_hook(partial(measure, f"__module.{name}/aten::linear/MatMul"))
        for name, part in network.named_modules()
        if isinstance(part, torch.nn.Linear)
    ]
    try:
        for tokens in model.tokenize(probes):
            network(*model.pad([tokens]))
    finally:
        for hook in hooks:
            hook.remove()
    return largest


def _round_weights(graph: Any, largest: Mapping[str, NDArray[np.float32]]) -> None:
    """Rounds the weights of linear layers to 8 bits; OpenVINO then rounds their inputs at run time.

    Each group of inputs has its own scale and zero point. Where a layer is wider than its input, inputs that are far
    larger than others of their group are divided by a factor, and their weights multiplied by it (SmoothQuant, Xiao et
    al. 2023). The values of attention stay exact: no softmax dampens their rounding error, which would cost as much of
    the cosine as all other layers together.

    Args:
        graph: changed in place.
        largest: from `_measure_inputs`.
    """
    from openvino import opset13 as ops

    nodes = graph.get_ops()
    attention = [node for node in nodes if node.get_type_name() == "ScaledDotProductAttention"]
    values = {_find_linear(node.input_value(_VALUES).get_node()).get_friendly_name() for node in attention}
    for node in nodes:
        name = node.get_friendly_name()
        if node.get_type_name() != "MatMul" or name in values or not node.get_attributes()["transpose_b"]:
            continue
        source = node.input_value(1).get_node()
        if source.get_type_name() != "Constant" or source.data.shape[1] % _GROUP:
            continue
        weight: NDArray[np.float32] = source.data
        n_out, n_in = weight.shape
        if n_out > n_in and name in largest:
            moved = np.sqrt(np.maximum(largest[name], _LEAST) / np.maximum(np.abs(weight).max(axis=0), _LEAST))
            weight = weight * moved
            node.input(0).replace_source_output(ops.multiply(node.input_value(0), ops.constant(1 / moved)).output(0))
        groups = weight.reshape(n_out, -1, _GROUP)
        low, high = groups.min(axis=2, keepdims=True), groups.max(axis=2, keepdims=True)
        scale = np.maximum((high - low) / 255, _LEAST)
        zero = np.clip(np.round(-low / scale), 0, 255)
        rounded = np.clip(np.round(groups / scale) + zero, 0, 255)
        as_bytes, zeros = (ops.convert(ops.constant(part.astype(np.uint8)), "f32") for part in (rounded, zero))
        exact = ops.multiply(ops.subtract(as_bytes, zeros), ops.constant(scale))
        node.input(1).replace_source_output(ops.reshape(exact, [n_out, n_in], special_zero=False).output(0))


def _find_linear(node: Any) -> Any:
    """Follows a tensor back to the matrix product that it comes from."""
    while node.get_type_name() != "MatMul" and node.get_input_size():
        node = node.input_value(0).get_node()
    return node
