"""Rows of the database as a frame, a column at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd


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
