"""Tables with columns, from Parquet files and ROOT trees, read in pieces of bounded size."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

Kind = Literal["number", "text", "list"]
BYTES_AT_A_TIME = 16_000_000
ROWS_AT_A_TIME = 250_000
ROOT_TYPE = re.compile(
    r"(?P<vector>(?:vector|array|ROOT::RVec|ROOT::VecOps::RVec)<)?"
    r"(?:bool|float|double|char|(?:unsigned )?(?:char|short|int|long)|u?int(?:8|16|32|64)_t"
    r"|Long64_t|ULong64_t)(?:, ?\d+)?(?(vector)>)(?P<array>\[\d*\])?"
)


@dataclass(frozen=True)
class Table:
    """What a table holds before it is read. columns: their kinds by name, in order."""

    file: Path
    tree: str | None
    columns: Mapping[str, Kind]
    n_rows: int
    row_bytes: Mapping[str, float]


def parquet_table(file: Path) -> Table:
    """The columns of a Parquet file. Raises OSError and pyarrow's ArrowInvalid."""
    with pq.ParquetFile(file) as opened:
        schema, metadata = opened.schema_arrow, opened.metadata
        columns = {f.name: kind for f in schema if (kind := _arrow_kind(f.type)) is not None}
        sizes: dict[str, float] = {}
        for group in range(metadata.num_row_groups):
            for index in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(index)
                name = chunk.path_in_schema.split(".")[0]
                sizes[name] = sizes.get(name, 0.0) + 8.0 * chunk.num_values
        rows = max(metadata.num_rows, 1)
        return Table(
            file, None, columns, metadata.num_rows, {n: s / rows for n, s in sizes.items()}
        )


def root_tables(file: Path, wanted: str | None = None) -> list[Table]:
    """The trees of a ROOT file, or the one that is wanted; raises what uproot raises."""
    import uproot

    tables = []
    with uproot.open(file) as root:
        kinds = root.classnames(recursive=True, cycle=False)
        for name, kind in kinds.items():
            if kind not in {"TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple"}:
                continue
            if wanted is not None and name != wanted:
                continue
            tree = root[name]
            columns = {n: k for n in tree.keys() if (k := _root_kind(tree[n])) is not None}  # noqa: SIM118
            rows = int(tree.num_entries)
            sizes = {n: _root_bytes(tree[n], k, rows) for n, k in columns.items()}
            tables.append(Table(file, name, columns, rows, sizes))
    return tables


def batches(table: Table, names: list[str]) -> Iterator[dict[str, pa.Array]]:
    """The named columns piece by piece as Arrow arrays, some tens of megabytes at a time.

    Raises what the library of the format raises on damaged data.
    """
    row_bytes = sum(table.row_bytes.get(name, 8.0) for name in names)
    rows = int(min(max(BYTES_AT_A_TIME / max(row_bytes, 1.0), 1), ROWS_AT_A_TIME))
    if table.tree is None:
        with pq.ParquetFile(table.file) as opened:
            for batch in opened.iter_batches(batch_size=rows, columns=names, use_threads=False):
                yield {name: batch.column(name) for name in names}
        return
    import awkward as ak
    import uproot

    with uproot.open(table.file) as root:
        tree = root[table.tree]
        for piece in tree.iterate(names, step_size=rows, library="ak"):
            yield {name: ak.to_arrow(piece[name], extensionarray=False) for name in names}


def _arrow_kind(kind: Any) -> Kind | None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return "list" if _arrow_kind(kind.value_type) == "number" else None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return "number" if numbers else None


def _root_kind(branch: Any) -> Kind | None:
    name = str(branch.typename).replace("std::", "")
    if "string" in name or "char*" in name:
        return "text"
    found = ROOT_TYPE.fullmatch(name)
    if found is None:
        return None
    return "list" if found["vector"] or found["array"] else "number"


def _root_bytes(branch: Any, kind: Kind, rows: int) -> float:
    """Bytes of one row in memory, roughly; rows of lists are taken to be like the first ones."""
    if kind != "list" or not rows:
        return 8.0
    import awkward as ak

    first = branch.array(entry_stop=min(rows, 16), library="ak")
    return 8.0 * max(float(ak.count(first)) / len(first), 1.0)
