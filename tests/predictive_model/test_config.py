from __future__ import annotations

import pytest

from predictive_model.config import Config, added
from predictive_model.encoders.config import EncoderConfig
from predictive_model.fits.config import FitConfig


class Inner(Config):
    rate: float = 0.5
    slope: float = added(1.0, since="0.10.0")


class Outer(Config):
    size: tuple[int, int] = (8, 8)
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}
    later: Inner | None = added(None, since="0.9.0")


@pytest.mark.parametrize("config", [EncoderConfig(), FitConfig()])
def test_settings_of_before_are_all_described(config: Config) -> None:
    """Only what was added since leaves no trace: hashes stay as they were."""
    later = {
        "core": {"norm", "bias", "final_nonlinearity"},
        "readout": {"position_inputs", "position_tanh"},
    }
    expected = config.model_dump(mode="json")
    for part in later.keys() & expected.keys():
        expected[part] = {k: v for k, v in expected[part].items() if k not in later[part]}
    assert config.described() == expected


def test_what_was_added_is_described_where_it_is_not_at_its_default() -> None:
    plain = {"rate": 0.5}
    assert Outer().described() == {"size": [8, 8], "inner": plain, "several": [], "named": {}}
    steep = Inner(slope=2)
    config = Outer(inner=steep, several=(Inner(), steep), named={"a": steep})
    full = {"rate": 0.5, "slope": 2.0}
    assert config.described() == {
        "size": [8, 8],
        "inner": full,
        "several": [plain, full],
        "named": {"a": full},
    }
    assert Outer(later=Inner()).described()["later"] == plain
    assert Outer.model_validate(config.described()) == config


def test_a_description_needs_the_latest_version_that_added_something_to_it() -> None:
    assert Outer().needs() == Inner(rate=1).needs() == ""
    assert Outer(later=Inner()).needs() == "0.9.0"
    assert Outer(inner=Inner(slope=2)).needs() == "0.10.0"
    assert Outer(later=Inner(slope=2)).needs() == "0.10.0"  # later than 0.9.0
    assert Outer(several=(Inner(slope=2),)).needs() == "0.10.0"
    assert Outer(named={"a": Inner(slope=2)}).needs() == "0.10.0"
