"""Reads single tensors, and single rows of them, from safetensors files without loading the rest.

The safetensors package cannot read bfloat16 into numpy. The format is simple: eight bytes with the length of a JSON
header, the header (name -> dtype, shape, offsets), then the data.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STORED_AS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
MAX_HEADER_BYTES = 100_000_000


class UnreadableTensors(Exception):
    """The file is not a safetensors file, or stores a type that is not a float."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor of floats that stays in its file; rows are read on demand."""

    name: str
    shape: tuple[int, ...]
    is_bfloat16: bool
    data: NDArray[Any]

    def rows(self, indices: NDArray[np.integer]) -> NDArray[np.floating]:
        """The rows at `indices`, [*indices.shape, *shape[1:]]; bfloat16 is returned as float32, exactly."""
        taken = self.data[indices]
        if self.is_bfloat16:
            widened: NDArray[np.float32] = (taken.astype(np.uint32) << np.uint32(16)).view(np.float32)
            return widened
        floats: NDArray[np.floating] = taken.astype(np.result_type(taken.dtype, np.float32))
        return floats

    def bytes(self) -> memoryview:
        """The data as stored in the file."""
        return self.data.view(np.uint8).data


def find_tensor(folder: Path, wanted: Callable[[str], bool]) -> list[StoredTensor]:
    """All tensors in the folder's safetensors files whose name is `wanted`, file by file, sorted by name.

    Only headers are read. Raises UnreadableTensors for a damaged file.
    """
    found = []
    for file in sorted(folder.glob("*.safetensors")):
        start, header = _header(file)
        found += [_stored(file, start, name, header[name]) for name in sorted(header) if wanted(name)]
    return found


def _header(file: Path) -> tuple[int, dict[str, dict[str, object]]]:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise UnreadableTensors(f"{file} is not a safetensors file: its header would have {length} bytes")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise UnreadableTensors(f"{file} is not a safetensors file: {error}") from error
    header.pop("__metadata__", None)
    return 8 + length, header


def _stored(file: Path, start: int, name: str, entry: dict[str, object]) -> StoredTensor:
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(begin), int(_)]}:
            pass
        case _:
            raise UnreadableTensors(f"{file}: the header entry of {name} cannot be read")
    if kind not in _STORED_AS:
        raise UnreadableTensors(f"{file}: {name} is stored as {kind}, not as one of {list(_STORED_AS)}")
    try:
        data = np.memmap(file, _STORED_AS[kind], "c", offset=start + begin, shape=tuple(shape))
    except ValueError as error:
        raise UnreadableTensors(f"{file}: {name}: {error}") from error
    return StoredTensor(name, tuple(shape), kind == "BF16", data)
