"""Names of conditions, and tables that keep apart what differs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pipeline.evaluations.layers import layers_table
from pipeline.evaluations.noise import noise_table
from pipeline.results.conditions import (
    CONDITION,
    conditions,
    network_names,
    numbered,
    settings,
    what_differs,
)
from regularized_training.lessons.config import RegularizerConfig, RsmConfig
from regularized_training.networks.config import NetworkConfig

TAUGHT: dict[str, Any] = dict.fromkeys(CONDITION, "") | {
    "shuffled_labels": 0.0,
    "image_set": "cifar",
    "architecture": "resnet18",
    "network_width": 16,
    "teacher": "neural_model",
    "alpha": 30.0,
    "strength": "alpha",
    "brain": "mouse V1",
    "n_stimuli": 16,
    "epochs": 5,
    "n_train_used": 0,
    "training_hash": "a",
}
ALONE = TAUGHT | {"teacher": "none", "alpha": 0.0, "brain": "", "n_stimuli": 0}


def named(*rows: dict[str, Any]) -> list[str]:
    return conditions(pd.DataFrame(rows)).tolist()


def test_only_what_differs_is_part_of_a_name() -> None:
    assert named(ALONE, TAUGHT) == ["none", "neural model, alpha 30"]
    other = TAUGHT | {"brain": "macaque V4", "training_hash": "b"}
    assert named(TAUGHT, other)[1] == "neural model, macaque V4, alpha 30"
    one_layer = TAUGHT | {"compared": "stage1", "training_hash": "b"}
    assert named(TAUGHT, one_layer) == [
        "neural model, alpha 30, layers all",
        "neural model, alpha 30, layers stage1",
    ]


def test_another_size_of_stimuli_is_said_where_one_brain_was_shown_at_several() -> None:
    half = TAUGHT | {"stimulus_size": "18x32", "training_hash": "b"}
    assert named(ALONE, TAUGHT, half) == [
        "none",
        "neural model, alpha 30",
        "neural model, alpha 30, 18x32",
    ]
    other = half | {"brain": "macaque V4"}
    assert named(TAUGHT, other)[1] == "neural model, macaque V4, alpha 30"


def test_an_rsm_is_weighed_by_r_and_random_vectors_are_told_by_their_mean() -> None:
    v1 = TAUGHT | {"teacher": "rsm", "alpha": 0.1, "strength": "r", "brain": "v1"}
    random = v1 | {"teacher": "gaussian", "drawn": "mean 0.495", "teacher_hash": "c"}
    aligned = random | {"drawn": "mean 5", "teacher_hash": "d"}
    assert named(ALONE, v1, random) == ["none", "rsm, r 0.1", "gaussian, r 0.1"]
    assert named(v1, random, aligned)[1:] == [
        "gaussian, mean 0.495, r 0.1",
        "gaussian, mean 5, r 0.1",
    ]


def test_what_reads_the_same_is_numbered() -> None:
    longer = TAUGHT | {"training_hash": "b"}
    assert named(TAUGHT, longer, TAUGHT) == [
        "neural model, alpha 30",
        "neural model, alpha 30 (2)",
        "neural model, alpha 30",
    ]
    labels = pd.Series(["pgd", "pgd", "bb"], index=[5, 3, 9])
    keys = pd.DataFrame({"hash": ["x", "y", "x"]}, index=labels.index)
    assert numbered(labels, keys).to_dict() == {5: "pgd", 3: "pgd (2)", 9: "bb"}


def test_settings_are_named_where_they_differ() -> None:
    frame = pd.DataFrame([TAUGHT, TAUGHT | {"image_set": "digits", "network_width": 64}])
    assert settings(frame).tolist() == ["cifar, width 16", "digits, width 64"]
    assert settings(frame[:1]).tolist() == [""]


def test_a_table_of_layers_has_a_row_for_each_judge() -> None:
    rows = [
        TAUGHT
        | {
            "judge": judge,
            "trained": trained,
            "layer": layer,
            "layer_index": i,
            "correlation": value + i / 10,
            "correlation_sem": float("nan"),
            "alignment": value,
            "statistics": "task",
            "n_seeds": 1,
        }
        for judge, value in (("mouse V1, shown at 18x32", 0.6), ("mouse V1", 0.2))
        for trained in (True, False)
        for i, layer in enumerate(("stem", "stage1"))
    ]
    table = layers_table(pd.DataFrame(rows))
    assert table[["judge", "condition", "stage1"]].to_numpy().tolist() == [
        ["mouse V1", "as initialised (n = 1)", "0.30 (0.20)"],
        ["mouse V1", "neural model, alpha 30 (n = 1)", "0.30 (0.20)"],
        ["mouse V1, shown at 18x32", "as initialised (n = 1)", "0.70 (0.60)"],
        ["mouse V1, shown at 18x32", "neural model, alpha 30 (n = 1)", "0.70 (0.60)"],
    ]


def test_two_noises_of_a_kind_are_not_taken_for_one() -> None:
    def row(name: str, accuracy: float) -> dict[str, Any]:
        measured = {"noise_name": name, "level": 0.1, "accuracy": accuracy, "sem": float("nan")}
        return TAUGHT | measured | {"n_seeds": 1}

    table = noise_table(pd.DataFrame([row("gaussian", 0.5), row("gaussian, not clamped", 0.25)]))
    assert table["neural model, alpha 30 (n = 1)"].tolist() == ["0.500", "0.250"]
    with pytest.raises(ValueError, match="duplicate"):
        noise_table(pd.DataFrame([row("gaussian", 0.5), row("gaussian", 0.25)]))


def test_settings_without_a_column_are_named_where_they_differ() -> None:
    configs: list[dict[str, Any]] = [
        {"optimizer": "adam", "augment": {"flip": True}, "decay": None, "epochs": 3},
        {"optimizer": "sgd", "augment": {"flip": False}, "decay": 0.5, "epochs": 4},
        {"augment": {"flip": True}},
    ]
    assert what_differs(configs, {"epochs"}) == [
        "adam, flip, any decay",
        "sgd, no flip, decay 0.5",
        "flip",
    ]
    elu = TAUGHT | {"setting": "elu", "network_hash": "n"}
    static = TAUGHT | {"lesson": "static", "training_hash": "t"}
    assert named(ALONE, TAUGHT | {"setting": "relu"}, elu, static) == [
        "none",
        "neural model, alpha 30, relu",
        "neural model, alpha 30, elu",
        "neural model, alpha 30, static",
    ]
    many = TAUGHT | {"lesson": "a, b, c, d, e", "training_hash": "t"}
    assert named(TAUGHT, many) == ["neural model, alpha 30", "neural model, alpha 30 (2)"]


def test_networks_that_learned_from_other_labels_are_apart() -> None:
    wrong = TAUGHT | {"shuffled_labels": 0.3, "training_hash": "t"}
    assert named(TAUGHT, wrong)[1] == "neural model, alpha 30, 0.3 of labels shuffled"
    frame = pd.DataFrame([TAUGHT, wrong])
    assert settings(frame).tolist() == ["0 of labels shuffled", "0.3 of labels shuffled"]


KNOWN = ("architecture", "width", "layers", "method")


def differing(**settings: Any) -> list[str]:
    """What is said of a network of torchvision's without settings, and with these."""
    architecture = "torchvision:resnet18"
    configs = (
        NetworkConfig(architecture=architecture),
        NetworkConfig(architecture=architecture, **settings),
    )
    return what_differs([config.described() for config in configs], KNOWN)


def test_a_setting_that_a_row_leaves_out_at_its_default_differs_from_others() -> None:
    assert differing() == ["", ""]
    assert differing(weights="IMAGENET1K_V1") == ["", "weights IMAGENET1K_V1"]
    assert differing(options={"depth": 6}) == ["", "depth 6"]
    lessons = [RegularizerConfig(), RsmConfig(method="rsm"), RsmConfig(method="rsm", decay=True)]
    assert what_differs([{}, *(lesson.described() for lesson in lessons)], KNOWN) == [
        *("", ""),
        *("no decay", "decay"),
    ]


def test_an_option_is_not_taken_for_a_setting_of_the_same_name_nor_for_another() -> None:
    assert differing(options={"layers": 6}) == ["", "layers 6"]
    options: list[dict[str, Any]] = [
        *({"norm": "batch"}, {"act": "batch"}),
        *({"stem": {"n": 3}}, {"stage": {"n": 3}}, {"stem": {}}),
        *({"n": 1_000_001}, {"n": 1_000_002}, {"flag": False}, {"flag": None}),
    ]
    said = what_differs([{"options": one} for one in options], ())
    assert len(set(said)) == len(options), said
    assert said[:4] == ["norm batch", "act batch", "stem n 3", "stage n 3"]


def test_a_teacher_of_another_package_speaks_for_no_brain() -> None:
    theirs = TAUGHT | {"teacher": "mylab_brightness", "teacher_hash": "c"}
    pixels = TAUGHT | {"teacher": "pixels", "brain": "macaque V4", "teacher_hash": "d"}
    assert named(TAUGHT, theirs, pixels) == [
        "neural model, mouse V1, alpha 30",
        "mylab brightness, stimuli of mouse V1, alpha 30",
        "pixels, stimuli of macaque V4, alpha 30",
    ]


def test_a_width_is_said_of_networks_that_have_one_to_choose() -> None:
    networks = (
        *(("resnet18", 64), ("resnet18", 16), ("torchvision:resnet50", 64)),
        *(("mylab_net", 64), ("yourlab_net", 64), ("yourlab_net", 8)),
    )
    frame = pd.DataFrame(
        [
            TAUGHT
            | {"architecture": name, "network_width": width, "network_hash": f"{name}{width}"}
            for name, width in networks
        ]
    )
    assert network_names(frame).tolist() == [
        *("resnet18 of width 64", "resnet18 of width 16", "torchvision:resnet50"),
        *("mylab_net", "yourlab_net of width 64", "yourlab_net of width 8"),
    ]
    assert settings(frame).tolist() == [
        *("resnet18, width 64", "resnet18, width 16", "torchvision:resnet50"),
        *("mylab_net", "yourlab_net, width 64", "yourlab_net, width 8"),
    ]
    assert conditions(frame)[1:3].tolist() == [
        "resnet18 16 neural model, alpha 30",
        "torchvision:resnet50 neural model, alpha 30",
    ]
    assert network_names(frame[:0]).tolist() == settings(frame[:0]).tolist() == []
