"""Counts what a compiled program does, from its text: kernels, bytes, operations, windows, copies and collectives.

Bytes are the operands and results of every instruction that runs as a kernel of its own: what must move through the
device's memory if nothing stays in a cache. Of an operand that is only sliced or gathered from, the slices count. The
body of a loop is counted once, and of a conditional's branches the one that moves the most bytes.
"""

import collections
import dataclasses
import math
import re
from typing import NamedTuple

_BYTES = {"pred": 1, "u8": 1, "s8": 1, "bf16": 2, "f16": 2, "u16": 2, "s16": 2, "f32": 4, "s32": 4, "u32": 4}
_BYTES |= {"f64": 8, "s64": 8, "u64": 8, "c64": 8, "token": 0}
_SHAPE = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_NAME = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = ")
_OPERATION = re.compile(r" ([\w\-]+)\((.*)")
_CALLED = "calls|body|condition|to_apply|(?:called|branch)_computations|(?:true|false)_computation"
# instructions that no kernel runs
_FREE = {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id"}
_FREE |= {"iota", "optimization-barrier", "custom-call:AllocateBuffer", "custom-call:AssumeGatherIndicesInBound"}
_FREE |= {"custom-call:ConcatBitcast"}  # of a TPU: slices that were copied side by side, as one array
_SLICES = ("slice", "slice-start", "dynamic-slice", "gather")
_COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


class Kernel(NamedTuple):
    """One instruction that runs on its own. `source` is where the program's author wrote it."""

    operation: str
    shape: str
    bytes: int
    flops: int  # of convolutions and matrix products
    window: int  # the height of a convolution's window, or 0
    source: str


@dataclasses.dataclass(frozen=True)
class ProgramCost:
    """What one execution of a program does on each device."""

    kernels: list[Kernel]

    @property
    def bytes(self) -> int:
        """Bytes read and written by all kernels."""
        return sum(kernel.bytes for kernel in self.kernels)

    @property
    def flops(self) -> int:
        """Operations in convolutions and matrix products, zeros of dilated inputs included."""
        return sum(kernel.flops for kernel in self.kernels)

    @property
    def largest_window(self) -> int:
        """The height of the largest window of a convolution."""
        return max((kernel.window for kernel in self.kernels), default=0)

    def collectives(self) -> dict[str, tuple[int, int]]:
        """Returns the number of each collective operation and the bytes of their results."""
        found = collections.defaultdict(lambda: (0, 0))
        for kernel in self.kernels:
            name = kernel.operation.removesuffix("-start")
            if name in _COLLECTIVES:
                count, size = found[name]
                found[name] = (count + 1, size + _bytes(kernel.shape))
        return dict(found)

    def costliest(self, count: int) -> list[Kernel]:
        """Returns the kernels that move the most bytes."""
        return sorted(self.kernels, key=lambda kernel: -kernel.bytes)[:count]


class _Instruction(NamedTuple):
    name: str
    shape: str
    operation: str
    rest: str

    @property
    def operands(self) -> list[str]:
        return re.findall(r"%([\w.\-]+)", self.rest.split("), ")[0])

    @property
    def called(self) -> list[str]:
        lists = re.findall(rf"(?:{_CALLED})=(\{{[^}}]*\}}|%?[\w.\-]+)", self.rest)
        return [name for names in lists for name in re.findall(r"[\w.\-]+", names)]


def program_cost(text: str) -> ProgramCost:
    """Counts a program from the text of `jax.stages.Compiled.as_text()`.

    Raises:
      ValueError: a dtype is not known here.
    """
    computations, entry = _parse(text)
    return ProgramCost(_kernels(computations, entry))


def _parse(text):
    computations, entry, current = {}, "", []
    for line in text.splitlines():
        if line.startswith(("%", "ENTRY")):
            name = re.match(r"(?:ENTRY )?%?([\w.\-]+)", line).group(1)
            current = computations.setdefault(name, [])
            entry = name if line.startswith("ENTRY") else entry
        elif match := _NAME.match(line):
            end = _end_of_shape(line, match.end())
            operation, rest = _OPERATION.match(line, end).groups()
            target = re.search(r'custom_call_target="([^"]+)"', rest)
            operation = f"{operation}:{target[1]}" if target else operation
            current.append(_Instruction(match[1], line[match.end() : end], operation, rest))
    for instructions in computations.values():
        _give_results_to_starts(instructions)
    return computations, entry


def _end_of_shape(line, start):
    """Returns where the shape that begins at `start` ends: at the first space outside of parentheses."""
    depth = 0
    for place in range(start, len(line)):
        depth += (line[place] == "(") - (line[place] == ")")
        if line[place] == " " and depth == 0:
            return place
    raise ValueError(f"not a line of a program: {line}")


def _give_results_to_starts(instructions):
    """Gives instructions such as copy-start the shape of their -done: their own has operands and flags in it too."""
    results = {i.operands[0]: i.shape for i in instructions if i.operation.endswith("-done")}
    for place, instruction in enumerate(instructions):
        if instruction.operation.endswith("-start") and instruction.name in results:
            instructions[place] = instruction._replace(shape=results[instruction.name])


def _kernels(computations, name):
    kernels = []
    shapes = {instruction.name: instruction.shape for instruction in computations[name]}
    for instruction in computations[name]:
        operation = instruction.operation
        if operation in _FREE or operation.endswith("-done"):
            continue
        if operation in ("while", "call"):
            for called in instruction.called:
                kernels += _kernels(computations, called)
            continue
        if operation == "conditional":
            branches = [_kernels(computations, called) for called in instruction.called]
            kernels += max(branches, key=lambda branch: sum(kernel.bytes for kernel in branch))
            continue
        flops, window = _work(computations, instruction, shapes)
        source = re.search(r'op_name="([^"]+)"', instruction.rest)
        moved = _bytes(instruction.shape) + sum(_bytes_read(computations, instruction, shapes))
        kernels.append(Kernel(operation, instruction.shape, moved, flops, window, source[1] if source else ""))
    return kernels


def _bytes_read(computations, instruction, shapes):
    """Yields the bytes that an instruction reads of each of its operands."""
    body = computations[instruction.called[0]] if instruction.operation == "fusion" else []
    parameters = {i.rest.partition(")")[0]: i.name for i in body if i.operation == "parameter"}
    for place, operand in enumerate(instruction.operands):
        if instruction.operation in _SLICES and place == 0:
            yield _bytes(instruction.shape)
            continue
        readers = [i for i in body if parameters.get(str(place)) in i.operands]
        sliced = [i for i in readers if i.operation in _SLICES and i.operands[0] == parameters[str(place)]]
        whole = _bytes(shapes.get(operand, ""))
        yield min(whole, sum(_bytes(i.shape) for i in sliced)) if readers and readers == sliced else whole


def _work(computations, instruction, shapes):
    """Returns the operations and the largest window of an instruction and of what it calls."""
    operands = [_dimensions(shapes.get(operand, "")) for operand in instruction.operands]
    flops, window = 0, 0
    result = _dimensions(instruction.shape)
    size = re.search(r"window=\{size=(\d+)", instruction.rest)
    if instruction.operation.startswith("custom-call:__cudnn$conv"):
        flops = _library_convolution(instruction, result[0], operands[0][0], operands[1][0])
    elif instruction.operation.startswith("custom-call:__cublas") or instruction.operation == "dot":
        flops = _product(instruction, result[0], operands[0][0])
    elif instruction.operation == "convolution":
        flops = _convolution(instruction, result[0], operands[1][0])
    if flops and size and "conv" in instruction.operation:
        window = int(size[1])
    if instruction.operation == "fusion":
        for called in instruction.called:
            inner = {i.name: i.shape for i in computations[called]}
            for i in computations[called]:
                more, wider = _work(computations, i, inner)
                flops, window = flops + more, max(window, wider)
    return flops, window


def _library_convolution(instruction, result, left, right):
    """Returns the operations of a convolution of cuDNN, whose output is an operand of its gradients."""
    if "BackwardFilter" in instruction.operation:
        return 2 * math.prod(right) * math.prod(_kernel_without_output(instruction, result))
    if "BackwardInput" in instruction.operation:
        return 2 * math.prod(left) * math.prod(_kernel_without_output(instruction, right))
    return 2 * math.prod(result) * math.prod(_kernel_without_output(instruction, right))


def _kernel_without_output(instruction, kernel):
    """Returns the kernel's dimensions but for that of output features, whose place the labels tell by an "o"."""
    labels = re.search(r"dim_labels=\w+_(\w+)->", instruction.rest)[1]
    return [size for size, label in zip(kernel, labels, strict=True) if label != "o"]


def _convolution(instruction, result, kernel):
    return 2 * math.prod(result) * math.prod(_kernel_without_output(instruction, kernel))


def _product(instruction, result, left):
    contracting = re.search(r'lhs_contracting_dim(?:s|ension_numbers|ensions)"?[=:][{\[]([\d",]*)', instruction.rest)
    places = [int(place) for place in re.findall(r"\d+", contracting[1])]
    return 2 * math.prod(result) * math.prod(left[place] for place in places)


def _dimensions(shape: str) -> list[list[int]]:
    return [[int(size) for size in sizes.split(",") if size] for _, sizes in re.findall(_SHAPE, shape)] or [[]]


def _bytes(shape: str) -> int:
    total = 0
    for dtype, sizes in re.findall(_SHAPE, shape):
        if dtype not in _BYTES:
            raise ValueError(f"{shape} has a dtype whose bytes are not known: add it to _BYTES of {__file__}")
        total += _BYTES[dtype] * math.prod(int(size) for size in sizes.split(",") if size)
    return total
