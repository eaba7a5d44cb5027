"""Rows of the database as a frame, a column at a time, and the arrays beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def read_rows(query: Any, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Key and some columns of a query; no array or file is read.

    DataJoint makes a dictionary of each row and looks at each of its values. Results have tens of
    thousands of rows of plain numbers.

    Parameters
    ----------
    query : datajoint.QueryExpression
    columns : sequence of str
        Beside those of the key.
    """
    chosen = query.proj(*columns)
    heading = chosen.heading
    assert not [name for name in heading.names if heading[name].codec is not None]
    rows = chosen.connection.query(chosen.make_sql()).fetchall()
    frame = pd.DataFrame.from_records(rows, columns=heading.names)
    for name in heading.names:
        if heading[name].json:  # MySQL gives its text
            frame[name] = [json.loads(v) if isinstance(v, str) else v for v in frame[name]]
        elif (heading[name].original_type or "").startswith("bool"):
            frame[name] = frame[name].astype(bool)
    return frame


def read_arrays(query: Any, name: str, frame: pd.DataFrame) -> list[NDArray[Any]]:
    """An array for each row of a frame, in its order.

    Parameters
    ----------
    query : datajoint.QueryExpression
        That has the rows of the frame, and perhaps others.
    name : str
        Of its column that holds arrays.
    frame : DataFrame
        With the columns of the query's key.
    """
    key = query.primary_key
    rows = query.proj(name).to_dicts()
    stored = {tuple(row[column] for column in key): row[name] for row in rows}
    wanted = frame[list(key)].itertuples(index=False, name=None)
    return [np.asarray(stored[one]) for one in wanted]
