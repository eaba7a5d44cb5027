"""Published files of trials: a CSV for each observer and session, or one of many experiments."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from regularized_training.behaviour.trials import Trials, TrialsError
from regularized_training.tasks.image_names import shown_image

COLUMNS = ("subj", "session", "trial", "rt", "object_response", "category", "condition")
IMAGE = "imagename"
DATASET = "dataset"  # in a table of several experiments


def read_trials(path: Path | str, *, experiment: str | None = None) -> Trials:
    """Trials of one experiment from files as Geirhos et al. published them.

    Parameters
    ----------
    path : Path
        A folder of CSV files, one for each observer and session, of
        github.com/rgeirhos/generalisation-humans-DNNs or github.com/bethgelab/model-vs-human; or
        one CSV, which may be compressed, also of several experiments with a column ``dataset``.
    experiment : str, optional
        Which of several; of one it is its name, by default that of the folder or file.

    Raises
    ------
    FileNotFoundError
    TrialsError
        If columns are missing, values are no numbers or categories, trials are there twice, or
        there are several experiments and none was chosen.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.csv"))
        if not files:
            raise TrialsError(
                f"{path}: no .csv file in it, expected one for each observer and session, "
                "as of one experiment"
            )
    elif path.is_file():
        files = [path]
    else:
        raise FileNotFoundError(f"{path}: no such file or folder")
    frame = pd.concat([_read(file) for file in files], ignore_index=True)
    name = path.name.removesuffix("-experiment") if path.is_dir() else path.name.partition(".")[0]
    if DATASET in frame:
        frame, name = _chosen(frame, experiment, path)
    return _trials(frame, experiment or name, path)


def _read(file: Path) -> pd.DataFrame:
    text = {name: str for name in ("subj", "condition", "category", "object_response", IMAGE)}
    try:
        # "na" is an answer of the files, not a missing value; conditions such as 0.10 are names.
        frame = pd.read_csv(
            file, dtype={**text, DATASET: str}, keep_default_na=False, na_values={"rt": ["NaN", ""]}
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise TrialsError(f"{file}: cannot be read as CSV ({error})") from error
    missing = [name for name in (*COLUMNS, IMAGE) if name not in frame]
    if missing:
        raise TrialsError(
            f"{file}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{', '.join(map(str, frame.columns))}"
        )
    for name in ("session", "trial", "rt"):
        numbers = pd.to_numeric(frame[name], errors="coerce")
        wrong = frame[name][numbers.isna() & frame[name].notna()]
        if len(wrong):
            raise TrialsError(
                f"{file}: {name} {wrong.iloc[0]!r} in line {wrong.index[0] + 2}, expected a number"
            )
        frame[name] = numbers
    return frame


def _chosen(frame: pd.DataFrame, experiment: str | None, path: Path) -> tuple[pd.DataFrame, str]:
    there = sorted(frame[DATASET].unique())
    if experiment is None and len(there) == 1:
        experiment = there[0]
    if experiment not in there:
        asked = "none was chosen" if experiment is None else f"{experiment!r} is not among them"
        raise TrialsError(f"{path}: has the experiments {', '.join(there)}, and {asked}")
    return frame[frame[DATASET] == experiment], str(experiment)


def _trials(frame: pd.DataFrame, experiment: str, path: Path) -> Trials:
    try:
        return Trials(
            experiment=experiment,
            observer=frame["subj"].to_numpy(str),
            session=frame["session"].to_numpy("int64"),
            number=frame["trial"].to_numpy("int64"),
            condition=frame["condition"].to_numpy(str),
            image=frame[IMAGE].map(shown_image).to_numpy(str),
            category=frame["category"].to_numpy(str),
            answer=frame["object_response"].to_numpy(str),
            seconds=frame["rt"].to_numpy("float64"),
        )
    except TrialsError as error:
        raise TrialsError(f"{path}: {error}") from error
