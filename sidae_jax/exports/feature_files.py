"""Files of features, written block by block so that they need not fit in memory: .npz, and .parquet by pyarrow.

No pickle: names are fixed-width unicode in .npz and strings in .parquet.
"""

import dataclasses
import json
import zipfile
from collections.abc import Iterable
from typing import IO

import numpy as np
from jaxtyping import Float, Int32

NPZ, PARQUET = ".npz", ".parquet"
Blocks = Iterable[Float[np.ndarray, "rows d"]]


@dataclasses.dataclass(frozen=True)
class Rows:
    """What stands beside the features of n images.

    names: the images' paths from their folder, or None: their numbers, 0 to n - 1, stand for them.
    labels: -1 for an image without one; class_names: in the order of the labels, none if no image has one.
    metadata: what made the features, as strings.
    """

    names: list[str] | None
    labels: Int32[np.ndarray, " n"]
    class_names: tuple[str, ...]
    metadata: dict[str, str]

    def __len__(self) -> int:
        return len(self.labels)


def write_npz(file: IO[bytes], rows: Rows, d: int, blocks: Blocks) -> None:
    """Writes float32 "features" [n, d], "names" or "rows" [n], and "metadata", a JSON object as text.

    Where there are classes, also int32 "labels" [n] and "class_names" [classes].
    """
    beside: dict[str, np.ndarray] = {"metadata": np.array(json.dumps(rows.metadata))}
    if rows.names is None:
        beside["rows"] = np.arange(len(rows))
    else:
        beside["names"] = np.array(rows.names, np.str_)
    if rows.class_names:
        beside |= {"labels": np.asarray(rows.labels), "class_names": np.array(rows.class_names, np.str_)}
    # uncompressed, as np.savez does: of features, zlib would save a tenth
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        with archive.open("features.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), d)}
            np.lib.format.write_array_header_1_0(member, header)
            for block in blocks:
                member.write(np.ascontiguousarray(block, "<f4").data)
        for name, array in beside.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def write_parquet(file: IO[bytes], rows: Rows, d: int, blocks: Blocks) -> None:
    """Writes the columns "name" (string) or "row" (int64), and "features", a list of d float32; metadata at the file.

    Where there are classes, also "label" (int32) and "class_name", both null for an image without one.
    """
    import pyarrow as pa  # an extra: only here
    import pyarrow.parquet as pq

    id_field = pa.field("row", pa.int64()) if rows.names is None else pa.field("name", pa.string())
    of_classes = [pa.field("label", pa.int32()), pa.field("class_name", pa.dictionary(pa.int32(), pa.string()))]
    features = pa.field("features", pa.list_(pa.float32(), d))
    schema = pa.schema([id_field, *(of_classes if rows.class_names else []), features], metadata=rows.metadata)
    start = 0
    with pq.ParquetWriter(file, schema) as writer:
        for block in blocks:
            stop = start + len(block)
            names = np.arange(start, stop) if rows.names is None else rows.names[start:stop]
            columns = [pa.array(names, id_field.type)]
            if rows.class_names:
                labels = pa.array(rows.labels[start:stop], pa.int32(), mask=rows.labels[start:stop] < 0)
                columns += [labels, pa.DictionaryArray.from_arrays(labels, pa.array(rows.class_names, pa.string()))]
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(block.ravel(), pa.float32()), d))
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            start = stop


WRITERS = {NPZ: write_npz, PARQUET: write_parquet}
