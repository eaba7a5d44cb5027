"""What goes with what over networks that others trained: attacks, predictivity, frequencies.

python experiments/pool_relations.py dapello2020_pool frequencies_pool --leave-out kw_small_linf8

The two experiments are of the same networks. Predictivity is explained variance where there is a
ceiling, the score elsewhere; intervals are of 95 %, by Fisher's transformation.
"""

from __future__ import annotations

import argparse

import pandas as pd

import neuroteach
from neuroteach import results
from regularized_training.analysis.correlation import correlation, partial_correlation

KEY = "imported_network"
STRONG = 4.0  # times the published radii


def networks_of(attacked: str, probed: str) -> pd.DataFrame:
    """A row for each network, by its name."""
    accuracy = results.white_box(attacked)
    accuracy = accuracy[accuracy["norm"] == "mean of norms"]
    weak, strong = (
        accuracy[accuracy["attack_strength"] == strength].set_index(KEY)
        for strength in (1.0, STRONG)
    )
    judged = results.predictivity(attacked)
    judged = judged.assign(value=judged["explained"].fillna(judged["score"]).astype(float))
    judged = judged.pivot_table(index=KEY, columns="judge", values="value")
    return judged.assign(
        clean=weak["clean_accuracy"],
        weak=weak["accuracy"],
        strong=strong["accuracy"],
        left=strong["accuracy"] / strong["clean_accuracy"],
        cut=results.hybrids(probed).set_index(KEY)["equal_at"],
        filters=results.filter_tuning(probed).set_index(KEY)["mean_frequency"],
    )


def say(networks: pd.DataFrame, x: str, y: str, given: str = "") -> None:
    """Print one correlation."""
    known = networks[[x, y, *([given] if given else [])]].dropna()
    if given:
        found = partial_correlation(known[x], known[y], known[given])
    else:
        found = correlation(known[x], known[y])
    condition = f" given {given}" if given else ""
    interval = f"({found.low:.2f}, {found.high:.2f})"
    print(f"  {x} and {y}{condition}: {found.r:.2f} {interval}, p = {found.p:.1g}, n = {found.n}")


def main() -> None:
    """Print the correlations over all networks, without those left out, and below a cut."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("attacked", help="experiment with [white_box] and [[predictivity]]")
    parser.add_argument("probed", help="experiment with [hybrids] and [filter_tuning]")
    parser.add_argument("--leave-out", action="append", default=[], metavar="network")
    parser.add_argument("--below", type=float, default=4.0, help="cut, in cycles per image height")
    asked = parser.parse_args()
    with neuroteach.open_database():
        networks = networks_of(asked.attacked, asked.probed)
    print("clean, weak, strong: accuracy as it is, and under attacks; left: strong / clean")
    judges = [name for name in networks.columns if ", " in str(name)]
    for title, some in (
        ("all", networks),
        (f"without {', '.join(asked.leave_out) or 'none'}", networks.drop(index=asked.leave_out)),
    ):
        print(title)
        for judge in judges:
            say(some, judge, "clean")
            say(some, judge, "weak")
            say(some, judge, "weak", "clean")
            say(some, judge, "strong", "clean")
        say(some, "clean", "weak")
    for title, some in (
        ("with a cut", networks.dropna(subset=["cut"])),
        (f"cut below {asked.below:g}", networks[networks["cut"] < asked.below]),
    ):
        print(title)
        for probe in ("cut", "filters"):
            say(some, probe, "left")
            say(some, probe, "left", "clean")
            say(some, probe, "strong", "clean")


if __name__ == "__main__":
    main()
