"""Embedding by OpenVINO, an extra: on CPUs with bf16 faster than torch; only this module imports it."""

import importlib.util
import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kgrec.errors import TextError
from kgrec.text.language_model import LanguageModel

if TYPE_CHECKING:
    from torch import Tensor

    from kgrec.text.encoder import Embed, Precision


def find_openvino(device: str) -> None:
    """Checks that OpenVINO is installed and that the device is one it is for.

    Raises:
        TextError: it is not.
    """
    if importlib.util.find_spec("openvino") is None:
        raise TextError(
            "the backend 'openvino' is not installed; expected the package openvino: "
            "install it with: pip install 'kgrec[openvino]', or use the backend 'torch'"
        )
    if device != "cpu":
        raise TextError(f"the backend 'openvino' is for CPUs, got the device {device!r}: use the backend 'torch'")


def compile_model(model: LanguageModel, precision: "Precision", streams: int) -> "Embed":
    """Compiles a language model.

    Args:
        model: the model, in fp32.
        precision: what to compute in.
        streams: how many batches are worked at side by side.

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
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # of tracing: which branches depend on the shape
            graph = openvino.convert_model(Network().eval(), example_input={"ids": ids, "mask": mask})
        graph.reshape({place: [-1, -1] for place in (0, 1)})
        settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # a thread that is tied to a core waits for whoever else is on it
        }
        compiled = openvino.Core().compile_model(graph, "CPU", settings)
    except Exception as error:  # whatever tracing or compiling an unknown architecture raises
        raise TextError(
            f"OpenVINO cannot compile the text encoder {model.name!r}: {type(error).__name__}: {str(error)[:300]}; "
            f"use the backend 'torch'"
        ) from error

    def embed(ids: "Tensor", mask: "Tensor") -> NDArray[np.float32]:
        request = compiled.create_infer_request()  # one for each batch under way
        vectors: NDArray[np.float32] = request.infer([ids.numpy(), mask.numpy()])[0].copy()
        return vectors

    return embed
