"""What becomes of values that an encoder cannot use, in files of any format."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from predictive_model.config import Config, what_is_wrong
from predictive_model.recordings.checks import RecordingError


class ImportOptions(Config):
    """What becomes of values that an encoder cannot use. All of it is said in the report.

    Attributes
    ----------
    most_missing : float
        A neuron, column of behaviour, pupil position or image of whose values more than this share
        is missing (not finite) is left out; then so are the trials in which one still is. 0 keeps
        all trials in which any neuron was recorded, 1 all neurons that ever were.
    negative : str
        ``refuse`` negative responses, as dF/F has them, ``clip`` them to 0, or ``keep`` them for
        encoders that are fitted with the loss ``mse``; the Poisson loss takes none.
    new_tiers : bool
        Choose new tiers in place of those in the file.
    """

    most_missing: float = Field(default=0.1, ge=0, le=1)
    negative: Literal["refuse", "clip", "keep"] = "refuse"
    new_tiers: bool = False

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """The options as they were given by name.

        Raises
        ------
        RecordingError
            If a name is not known, or a value is impossible.
        """
        known = f"expected some of {', '.join(cls.model_fields)}"
        if unknown := sorted(given.keys() - cls.model_fields.keys()):
            raise RecordingError(
                f"options: {', '.join(unknown)}, but this format has none; {known}"
            )
        try:
            return cls(**given)
        except ValidationError as error:
            raise RecordingError(f"options: {what_is_wrong(error)}; {known}") from error
