"""A builder of ONNX graphs: nodes and constants by name, the same bytes for the same calls."""

from typing import TYPE_CHECKING, Any

import numpy as np

from nanostyle.errors import NanostyleError

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
IR_VERSION = 9


class Graph:
    """A graph under construction. Values go by name: inputs, constants and what nodes return.

    Parameters
    ----------
    half
        Whether weights are stored in float16; the graph turns them into float32 where they are used.
    """

    def __init__(self, *, half: bool = False) -> None:
        self.half = half
        self._nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._tensors: list[Any] = []
        self._inputs: list[Any] = []

    def input(self, name: str, shape: tuple[str | int, ...]) -> str:
        """A float32 input; a side given by a word is free."""
        self._inputs.append(_onnx().helper.make_tensor_value_info(name, _onnx().TensorProto.FLOAT, shape))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """The name of a constant; equal ones are one."""
        array = np.ascontiguousarray(np.asarray(value, dtype))
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._constants:
            self._constants[key] = name = f"constant{len(self._constants)}"
            self._tensors.append(_onnx().numpy_helper.from_array(array, name))
        return self._constants[key]

    def whole(self, *values: int) -> str:
        """A constant list of whole numbers."""
        return self.constant(values, np.int64)

    def weight(self, name: str, array: np.ndarray, *, exact: bool = False) -> str:
        """A constant with the name of a parameter, in the storage of the graph; in float32 if `exact`."""
        half = self.half and not exact
        array = np.ascontiguousarray(array, np.float16 if half else np.float32)
        self._tensors.append(_onnx().numpy_helper.from_array(array, name))
        return self.op("Cast", name, to=_onnx().TensorProto.FLOAT) if half else name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its result."""
        name = str(attributes.pop("name", f"{kind.lower()}{len(self._nodes)}"))
        self._nodes.append(_onnx().helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def model(self, name: str, output: str, shape: tuple[str | int, ...], facts: dict[str, str]) -> "ModelProto":
        """The finished model with its one output; `facts` are its metadata. It has passed ONNX's own check."""
        onnx = _onnx()
        result = onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, shape)
        graph = onnx.helper.make_graph(self._nodes, name, self._inputs, [result], self._tensors)
        opset = onnx.helper.make_opsetid("", OPSET)
        model: ModelProto = onnx.helper.make_model(
            graph,
            opset_imports=[opset],
            ir_version=IR_VERSION,
            producer_name="nanostyle",
            producer_version=facts["nanostyle"],
        )
        onnx.helper.set_model_props(model, facts)
        onnx.checker.check_model(model, full_check=True)
        return model


def _onnx() -> Any:
    """The onnx package, read when it is first needed.

    Raises
    ------
    NanostyleError
        It is not installed.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise NanostyleError(
            "export: the package onnx is not installed", hint='install it with: pip install "nanostyle[onnx]"'
        ) from error
    return onnx
