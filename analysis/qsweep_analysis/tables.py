"""HDF5 groups as pandas tables. A table is a group of one-dimensional columns that share the dimension "row"."""

import hashlib
import io

import h5py
import numpy as np
import pandas as pd

from .errors import AnalysisError

MAX_VALUES = 1 << 24  # of one dataset: hostile files declare sizes that they do not have
MAX_FILE_BYTES = 1 << 31
SEAL = b"\nqsweep-sha256 "  # then 64 hex digits and a newline: src/record/seal.hpp
LOCAL_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


def open_file(path):
    """Opens read-only and without a lock; AnalysisError names the file."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise AnalysisError(f"{path} is too large ({size} bytes, at most {MAX_FILE_BYTES} are read)")
        return h5py.File(path, "r", locking=False)
    except (OSError, ValueError) as error:
        raise AnalysisError(f"cannot read {path} ({error}) is it a whole HDF5 file?") from error


def open_run(path):
    """Opens a run file whose seal (SHA-256 at its end) holds; AnalysisError where it was cut or altered."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise AnalysisError(f"{path} is too large (at most {MAX_FILE_BYTES} bytes are read)")
        content = path.read_bytes()
    except OSError as error:
        raise AnalysisError(f"cannot read {path} ({error})") from error
    body, tail = content[:-len(SEAL) - 65], content[-len(SEAL) - 65:]
    if tail != SEAL + hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise AnalysisError(f"{path} is not a whole run file (its seal does not hold) delete it and resume the sweep")
    try:
        return h5py.File(io.BytesIO(body), "r")
    except (OSError, ValueError) as error:
        raise AnalysisError(f"cannot read {path} ({error})") from error


def values_of(dataset):
    """The values of a dataset; strings as `str`. Bounded, and only from inside the file."""
    where = f"{dataset.file.filename}:{dataset.name}"
    if dataset.size is None or dataset.size > MAX_VALUES:
        raise AnalysisError(f"refused {where} ({dataset.size} values, at most {MAX_VALUES} are read)")
    creation = dataset.id.get_create_plist()
    filters = {creation.get_filter(i)[0] for i in range(creation.get_nfilters())}
    if dataset.external or dataset.is_virtual or not filters <= LOCAL_FILTERS:
        raise AnalysisError(f"refused {where} (its values lie outside the file or need a plug-in)")
    try:
        if h5py.check_string_dtype(dataset.dtype) is not None:
            return np.asarray(dataset.asstr(errors="replace")[()], dtype=object)
        if dataset.dtype.kind not in "iuf":
            raise AnalysisError(f"refused {where} (its type is {dataset.dtype}, not a number or text)")
        return dataset[()]
    except (OSError, RuntimeError) as error:
        raise AnalysisError(f"cannot read {where} ({error})") from error


def attributes_of(item):
    """Attributes of a group or dataset as plain Python values."""
    found = {}
    for name, value in item.attrs.items():
        if isinstance(value, h5py.Empty) or name in ("DIMENSION_LIST", "REFERENCE_LIST"):
            continue
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        found[name] = value.item() if isinstance(value, np.generic) else value
    return found


def local(group, name, kind):
    """The member `name` of `group` if it is a hard link to a `kind`, else None."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return None
    item = group[name]
    return item if isinstance(item, kind) else None


def read_table(group, name, columns):
    """The table /name with at least `columns` (empty ones where it has none); units in `.attrs["units"]`."""
    table = local(group, name, h5py.Group)
    if table is None:
        return pd.DataFrame({column: [] for column in columns})
    data, units = {}, {}
    for column in table:
        dataset = local(table, column, h5py.Dataset)
        if dataset is None or dataset.ndim != 1 or column == "row":
            continue
        data[column] = values_of(dataset)
        units[column] = attributes_of(dataset).get("units", "")
    lengths = {len(values) for values in data.values()}
    if len(lengths) > 1:
        raise AnalysisError(f"columns of {group.file.filename}:/{name} differ in length ({sorted(lengths)})")
    frame = pd.DataFrame(data)
    for column in columns:
        if column not in frame:
            frame[column] = pd.Series([None] * len(frame), dtype=object)
    frame.attrs["units"] = units
    return frame
