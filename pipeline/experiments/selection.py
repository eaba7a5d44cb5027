"""Which experiments are meant; one that is not in the database is refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from schemas import base
from schemas.experiment import Experiment


@dataclass(frozen=True)
class Selection:
    """Experiments by name, scale and who added them; all of them, if nothing is named.

    Attributes
    ----------
    experiment, scale : str, optional
    user : str, optional
        Who added it, a user of the database.
    """

    experiment: str | None = None
    scale: str | None = None
    user: str | None = None

    @cached_property
    def named(self) -> dict[str, str]:
        """What is asked of experiments.

        Raises
        ------
        LookupError
            If no experiment in the database is so; names those that there are.
        """
        base.require_active()
        asked = {"experiment": self.experiment, "scale": self.scale, "added_by": self.user}
        asked = {k: v for k, v in asked.items() if v is not None}
        if asked and not Experiment & asked:
            rows = Experiment.proj("added_by").to_dicts()
            known = [f"{r['experiment']} ({r['scale']}) of {r['added_by']}" for r in rows]
            if self.user is None:
                known = [name.partition(" of ")[0] for name in known]
            raise LookupError(
                f"experiment: {' '.join(map(str, asked.values()))} is not in the database, which "
                f"has {', '.join(known) or 'none'}"
            )
        return {k: str(v) for k, v in asked.items()}

    @property
    def everything(self) -> bool:
        """Whether nothing is named."""
        return not self.named

    @property
    def experiments(self) -> Any:
        """Restriction of a plan to these experiments."""
        if self.user is None:
            return self.named
        return (Experiment & self.named).proj()

    def of(self, query: Any, plan: Any) -> Any:
        """Rows of a query that a plan of these experiments asks for; all, if nothing is named."""
        return query if self.everything else query & (plan & self.experiments)


ALL = Selection()
