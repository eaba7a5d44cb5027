"""Experiment files: read at a scale, checked before anything is planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.experiments.content import ExperimentError
from pipeline.experiments.file import ExperimentSettings, read_experiment, scales_of
from regularized_training.lessons.config import RsmConfig
from regularized_training.networks.config import NetworkConfig, file_digest
from regularized_training.teachers.config import DEFAULT_PREDICTABILITY

FOLDER = Path(__file__).resolve().parents[3] / "experiments"
FILES = sorted(FOLDER.glob("*.toml"))

MINIMAL = """
title = "a study"
recordings = ["scan"]
images = "digits"
teachers = ["none", "shuffle"]
seeds = [0, 1]

[training]
epochs = 8

[training.regularizer]
alpha = 3

[scales.paper]

[scales.smoke]
seeds = [0]

[scales.smoke.training]
epochs = 1
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "file, scale",
    [(file, scale) for file in FILES for scale in scales_of(file)],
    ids=lambda value: value.stem if isinstance(value, Path) else value,
)
def test_every_published_file_is_valid_at_each_of_its_scales(file: Path, scale: str) -> None:
    settings = read_experiment(file, scale)
    taught = [t for t in settings.teachers if t.kind != "none"]
    assert not taught or (settings.training and settings.training.regularizer)
    noises = settings.evaluations.get("noise", ())
    assert not noises or any(0 in noise.levels for noise in noises), (
        "without the accuracy on clean images"
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_published_file_has_a_smoke_scale_that_is_the_smallest(file: Path) -> None:
    def size(scale: str) -> int:
        s = read_experiment(file, scale)
        if s.training is None:
            return s.fit.max_epochs
        return s.training.epochs * len(s.seeds) * len(s.teachers)

    assert "smoke" in scales_of(file)
    assert size("smoke") == min(size(scale) for scale in scales_of(file))


def test_a_file_extends_another_scales_and_all(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    path = tmp_path / "more.toml"
    path.write_text(
        """
extends = "study.toml"
title = "another"
teachers = ["none"]
[scales.smoke.training]
batch_size = 32
"""
    )
    whole, extended = (
        read_experiment(tmp_path / "study.toml", "smoke"),
        read_experiment(path, "smoke"),
    )
    assert scales_of(path) == ["paper", "smoke"]
    assert (extended.title, [t.kind for t in extended.teachers]) == ("another", ["none"])
    assert (extended.training.epochs, extended.training.batch_size) == (1, 32)
    assert extended.seeds == whole.seeds == (0,)


@pytest.mark.parametrize(
    "name, message",
    [
        ("nosuch.toml", "which is not in"),
        ("study.toml", "which extends this file in turn"),
        (3, "expected the name of a file"),
    ],
)
def test_a_file_that_extends_nothing_sensible_is_refused(
    tmp_path: Path, name: str | int, message: str
) -> None:
    path = write(tmp_path, f"extends = {name!r}\n" + MINIMAL)
    with pytest.raises(ExperimentError, match=message):
        read_experiment(path, "smoke")


TEACHERS_OF_NETWORKS = """
teachers = [{ kind = "none" }, { kind = "none", network = { low_pass = 2 } }]
"""


def test_networks_may_differ_between_teachers(tmp_path: Path) -> None:
    text = MINIMAL.replace('teachers = ["none", "shuffle"]', TEACHERS_OF_NETWORKS)
    settings = read_experiment(write(tmp_path, text), "smoke")
    found = [(entry.kind, network.low_pass) for entry, network, _ in settings.all_trainings]
    assert found == [("none", 0), ("none", 2)]
    assert [network.low_pass for network in settings.networks] == [0, 2]


@pytest.mark.parametrize(
    "network, message",
    [
        ("{ low_pass = -1 }", "teachers: none: network: low_pass: .*found -1"),
        ("{ low_pass = 0 }", "none teaches twice"),
    ],
)
def test_teachers_of_impossible_networks_are_refused(
    tmp_path: Path, network: str, message: str
) -> None:
    entries = TEACHERS_OF_NETWORKS.replace("{ low_pass = 2 }", network)
    text = MINIMAL.replace('teachers = ["none", "shuffle"]', entries)
    with pytest.raises(ExperimentError, match=message):
        read_experiment(write(tmp_path, text), "smoke")


VARIANTS = MINIMAL.replace("[training]", "[[variants]]\n{}\n[[variants]]\n{}\n\n[training]", 1)


def test_variants_train_every_teacher_with_each_change(tmp_path: Path) -> None:
    text = VARIANTS.format("training = { shuffled_labels = 0.3 }", "network = { width = 8 }")
    settings = read_experiment(write(tmp_path, text), "smoke")
    (_, corrupted), (narrow, plain) = settings.variations
    assert (corrupted.shuffled_labels, plain.shuffled_labels) == (0.3, 0)
    assert narrow.width == 8
    assert corrupted.epochs == plain.epochs == 1
    assert corrupted.regularizer == settings.training.regularizer


@pytest.mark.parametrize(
    "first, second, message",
    [
        ("training = { epochs = 0 }", "", r"variants\.0: epochs"),
        ("training = { epoch = 3 }", "", r"variants\.0: epoch"),
        ("", "network = { width = 64 }", "the variant that makes no difference"),
        ("", "training.regularizer.alpha = 5", "none teaches twice"),
        (
            "",
            "network = { architecture = 'vgg' }",
            r"network 'vgg': no part of this name is installed",
        ),
    ],
)
def test_a_variant_that_cannot_work_or_changes_nothing_is_refused(
    tmp_path: Path, first: str, second: str, message: str
) -> None:
    with pytest.raises(ExperimentError, match=message):
        read_experiment(write(tmp_path, VARIANTS.format(first, second)), "smoke")


def with_weights(folder: Path, *names: str) -> Path:
    """A folder for experiment files, and files of different weights in it."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


def networks_of(path: Path, scale: str = "smoke") -> list[NetworkConfig]:
    return [network for network, _ in read_experiment(path, scale).variations]


def test_other_weights_have_a_digest_of_their_own(tmp_path: Path) -> None:
    folder = with_weights(tmp_path, "a.pth", "b.pth")
    text = VARIANTS.format("network = { weights = 'b.pth' }", "network = { weights = '' }")
    digest = file_digest(folder / "a.pth")
    text += f"\n[network]\nweights = 'a.pth'\nweights_digest = '{digest}'\n"
    other, none = networks_of(write(folder, text))
    assert (other.weights, other.weights_digest) == (
        str(folder / "b.pth"),
        file_digest(folder / "b.pth"),
    )
    assert (none.weights, none.weights_digest) == ("", "")
    text = MINIMAL + f"\n[network]\nweights = 'a.pth'\nweights_digest = '{digest}'\n"
    text += "\n[scales.smoke.network]\nweights = 'b.pth'\n"
    (scaled,) = networks_of(write(folder, text))
    assert scaled.weights_digest == other.weights_digest


def test_weights_lie_beside_the_file_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_weights(tmp_path / "study", "a.pth")
    path = write(folder, MINIMAL + "\n[network]\nweights = 'a.pth'\n")
    extending = tmp_path / "more.toml"
    extending.write_text('extends = "study/study.toml"\n[scales.tiny.network]\nweights = "c.pth"\n')
    with_weights(tmp_path, "c.pth")
    monkeypatch.chdir(folder.parent)
    for file, scale, expected in (
        (path, "smoke", folder / "a.pth"),
        (Path("study/study.toml"), "smoke", folder / "a.pth"),
        (extending, "smoke", folder / "a.pth"),
        (extending, "tiny", tmp_path / "c.pth"),
    ):
        (network,) = networks_of(file, scale)
        assert Path(network.weights) == expected
    (folder / "a.pth").unlink()
    with pytest.raises(ExperimentError, match=r"weights: .*study/a\.pth: cannot be read"):
        read_experiment(path, "smoke")


def test_the_same_weights_elsewhere_make_no_other_network(tmp_path: Path) -> None:
    with_weights(tmp_path, "a.pth")
    (tmp_path / "copy.pth").write_bytes((tmp_path / "a.pth").read_bytes())
    text = VARIANTS.format("network = { weights = 'a.pth' }", "network = { weights = 'copy.pth' }")
    with pytest.raises(ExperimentError, match="the variant that makes no difference"):
        read_experiment(write(tmp_path, text), "smoke")


@pytest.mark.parametrize("taught", [True, False])
@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"architecture": "resnet81"}, "network 'resnet81': no part of this name is installed"),
        ({"architecture": "torchvision:resnet81"}, "'torchvision:resnet81': there is none of this"),
        ({"options": {"depth": 3}}, "options: .*'depth', for network 'resnet18'"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_whoever_teaches_it(
    tmp_path: Path, network: dict[str, Any], message: str, taught: bool
) -> None:
    path = write(tmp_path, MINIMAL)
    teachers = ["none", "shuffle"] if taught else ["none"]
    with pytest.raises(ExperimentError, match=message):
        read_experiment(path, "smoke", network=network, teachers=teachers)


def test_a_scale_overrides_key_by_key_and_leaves_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    paper, smoke = read_experiment(path, "paper"), read_experiment(path, "smoke")
    assert (paper.seeds, smoke.seeds) == ((0, 1), (0,))
    assert (paper.training.epochs, smoke.training.epochs) == (8, 1)
    assert paper.training.regularizer == smoke.training.regularizer
    assert smoke.training.regularizer is not None
    assert smoke.training.regularizer.alpha == 3


def test_a_plain_string_is_the_kind_of_a_teacher(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"teachers": ["none", {"kind": "shuffle", "seed": 4}]}
    settings = read_experiment(write(tmp_path, MINIMAL), "paper", **changes)
    assert [(t.kind, t.seed) for t in settings.teachers] == [("none", 0), ("shuffle", 4)]


def test_changes_go_before_the_file(tmp_path: Path) -> None:
    settings = read_experiment(write(tmp_path, MINIMAL), "smoke", recordings=["a", "b"])
    assert settings.recordings == ("a", "b")


def test_a_recipe_is_what_the_file_overrides(tmp_path: Path) -> None:
    text = 'recipe = "sensorium2022"\n' + MINIMAL + "\n[encoder.core]\nlayers = 2\n"
    settings = read_experiment(write(tmp_path, text), "smoke")
    assert (settings.encoder.core.layers, settings.encoder.core.hidden_channels) == (2, 64)
    assert settings.fit.learning_rate == 0.009


def test_settings_survive_a_round_trip_through_json(tmp_path: Path) -> None:
    settings = read_experiment(write(tmp_path, MINIMAL), "paper")
    assert ExperimentSettings.model_validate_json(settings.model_dump_json()) == settings


SOURCE = """
[sources.mouse]
encoders = ["a", "b"]
stimuli = "0123456789abcdef"
"""


def taught_by(tmp_path: Path, *teachers: dict[str, Any], **changes: Any) -> ExperimentSettings:
    path = write(tmp_path, MINIMAL + SOURCE)
    return read_experiment(path, "paper", teachers=list(teachers), **changes)


def test_a_teacher_changes_single_settings_of_the_regulariser(tmp_path: Path) -> None:
    own = {"layers": ["stage1"], "stimulus_size": [32, 32]}
    settings = taught_by(
        tmp_path,
        {"kind": "neural_model", "source": "mouse", "regularizer": own},
        {"kind": "shuffle"},
        {"kind": "none"},
    )
    assert settings.training is not None
    first, second, nobody = (t.trainings(settings.training)[0] for t in settings.teachers)
    assert first.regularizer is not None and second.regularizer is not None
    assert (first.regularizer.alpha, first.regularizer.layers) == (3, ("stage1",))
    assert first.regularizer.stimulus_size == (32, 32)
    assert second == settings.training
    assert nobody.regularizer is None


def test_another_lesson_takes_over_no_settings_of_the_first(tmp_path: Path) -> None:
    own = {"method": "rsm", "layer": "stem"}
    settings = taught_by(
        tmp_path,
        {"kind": "recorded_rsm", "regularizer": own, "alphas": [0.1, 1]},
        {"kind": "shuffle"},
    )
    assert settings.training is not None
    first, second = (t.trainings(settings.training) for t in settings.teachers)
    assert [t.regularizer for t in first] == [
        RsmConfig(method="rsm", layer="stem", ratio=ratio) for ratio in (0.1, 1)
    ]
    assert second == [settings.training]
    (variant,) = taught_by(
        tmp_path,
        {"kind": "recorded_rsm", "regularizer": {"n_pairs": 8}},
        {"kind": "shuffle", "regularizer": {"method": "li", "n_stimuli": 8}},
        variants=[{"training": {"regularizer": own}}],
    ).variations
    assert variant[1].regularizer == RsmConfig(method="rsm", layer="stem")


def test_a_teacher_teaches_once_with_each_alpha(tmp_path: Path) -> None:
    settings = taught_by(tmp_path, {"kind": "shuffle", "alphas": [1, 10]})
    assert settings.training is not None
    trainings = settings.teachers[0].trainings(settings.training)
    assert [t.regularizer.alpha for t in trainings if t.regularizer] == [1, 10]


def test_only_the_teacher_itself_is_what_a_teacher_is_known_by(tmp_path: Path) -> None:
    """However it teaches and whoever its source is, its matrix is made by the same recipe."""
    settings = taught_by(
        tmp_path, {"kind": "gabor", "source": "mouse", "alphas": [1]}, {"kind": "gabor"}
    )
    assert settings.teachers[0].teacher == settings.teachers[1].teacher


def test_neurons_of_the_own_recordings_are_weighed_by_the_default(tmp_path: Path) -> None:
    """Those of encoders from elsewhere have no trials, and their teachers are as they were."""
    settings = taught_by(
        tmp_path,
        {"kind": "shuffle"},
        {"kind": "shuffle", "predictability": "trial"},
        {"kind": "shuffle", "source": "mouse"},
    )
    found = [entry.teacher.predictability for entry in settings.teachers]
    assert found == [DEFAULT_PREDICTABILITY, "trial", "trial"]


def test_without_recordings_every_teacher_needs_a_source(tmp_path: Path) -> None:
    settings = taught_by(
        tmp_path, {"kind": "none"}, {"kind": "gabor", "source": "mouse"}, recordings=[]
    )
    assert settings.recordings == ()
    with pytest.raises(ExperimentError, match="shuffle needs recordings or a source"):
        taught_by(tmp_path, {"kind": "shuffle"}, recordings=[])
    with pytest.raises(ExperimentError, match="recordings: none, expected scans"):
        taught_by(tmp_path, recordings=[])


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"kind": "shuffle", "source": "rat"}, "the source 'rat', expected one of mouse"),
        ({"kind": "neural_data", "source": "mouse"}, "neural_data needs recorded trials"),
        ({"kind": "oracle", "source": "mouse"}, "oracle needs recorded trials"),
        ({"kind": "shuffle", "regularizer": {"alpa": 3}}, "alpa"),
        ({"kind": "shuffle", "alphas": [-1]}, "alpha"),
        (
            {"kind": "shuffle", "regularizer": {"layers": ["conv9"]}},
            "conv9 are not among those of resnet18 .*: stem, stage1",
        ),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(
    tmp_path: Path, teacher: dict[str, Any], message: str
) -> None:
    with pytest.raises(ExperimentError, match=message):
        taught_by(tmp_path, teacher)


@pytest.mark.parametrize(
    "again", [{"alphas": [3]}, {"alphas": [5, 5]}, {"regularizer": {"alpha": 3}}]
)
def test_a_teacher_that_teaches_twice_in_the_same_way_is_refused(
    tmp_path: Path, again: dict[str, Any]
) -> None:
    with pytest.raises(ExperimentError, match="shuffle teaches twice in the same way with alpha"):
        taught_by(tmp_path, {"kind": "shuffle"}, {"kind": "shuffle", **again})


def test_networks_are_compared_with_neural_teachers_alone(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="representation: .* of which there is none"):
        taught_by(tmp_path, {"kind": "shuffle"}, representation={})
    taught_by(tmp_path, {"kind": "neural_model"}, representation={})


def test_another_regulariser_has_a_ratio_for_its_alphas(tmp_path: Path) -> None:
    text = MINIMAL.replace("alpha = 3", 'method = "rsm"') + SOURCE
    network = {"architecture": "cornet_z"}
    teachers = [{"kind": "recorded_rsm", "alphas": [0.1, 1]}]
    path = write(tmp_path, text)
    settings = read_experiment(path, "paper", network=network, teachers=teachers)
    assert settings.training is not None
    (entry,) = settings.teachers
    ratios = [t.regularizer.ratio for t in entry.trainings(settings.training)]  # type: ignore[union-attr]
    assert ratios == [0.1, 1]
    path = write(tmp_path, text.replace('"rsm"', '"rsm"\nlayr = "V1"'))
    with pytest.raises(ExperimentError, match=r"training\.regularizer\.layr: Extra inputs"):
        read_experiment(path, "paper", network=network)


def test_batch_ratios_are_trained_with_each_alpha(tmp_path: Path) -> None:
    teachers = [{"kind": "neural_model", "alphas": [1, 3], "batch_ratios": ["1:4", "2:2"]}]
    settings = read_experiment(write(tmp_path, MINIMAL), "paper", teachers=teachers)
    assert settings.training is not None
    lessons = [t.regularizer for t in settings.teachers[0].trainings(settings.training)]
    found = [(lesson.alpha, lesson.batch_ratio) for lesson in lessons if lesson is not None]
    assert found == [(1, "1:4"), (1, "1:1"), (3, "1:4"), (3, "1:1")]
    teachers = [{"kind": "neural_model", "batch_ratios": ["0:1"]}]
    with pytest.raises(ExperimentError, match="batch_ratio: '0:1', expected two whole numbers"):
        read_experiment(write(tmp_path, MINIMAL), "paper", teachers=teachers)


def test_a_teacher_may_change_how_networks_are_trained(tmp_path: Path) -> None:
    distorted = {"layer": "stage1", "by": {"gaussian": [0.1]}}
    teachers = [{"kind": "none"}, {"kind": "none", "training": {"distorted": distorted}}]
    settings = read_experiment(write(tmp_path, MINIMAL), "paper", teachers=teachers)
    assert settings.training is not None
    plain, oracle = (entry.trainings(settings.training)[0] for entry in settings.teachers)
    assert plain.distorted is None and oracle.distorted is not None
    assert oracle.model_copy(update={"distorted": None}) == plain
    described = settings.model_dump(mode="json")
    assert ExperimentSettings.model_validate(described) == settings


def test_an_encoder_speaks_once_in_a_source(tmp_path: Path) -> None:
    sources = {"mouse": {"encoders": ["m", "m"], "stimuli": "k"}}
    with pytest.raises(ExperimentError, match="m, m: expected every encoder once"):
        taught_by(tmp_path, {"kind": "gabor", "source": "mouse"}, sources=sources)


def test_other_stimuli_are_for_sources_alone(tmp_path: Path) -> None:
    settings = taught_by(tmp_path, {"kind": "gabor", "source": "mouse"})
    assert settings.with_stimuli("f" * 16).sources["mouse"].stimuli == "f" * 16
    with pytest.raises(ExperimentError, match="no teacher has a source"):
        read_experiment(write(tmp_path, MINIMAL), "paper").with_stimuli("f" * 16)


def test_one_table_of_noise_is_a_list_of_one(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    single = read_experiment(path, "paper", noise={"levels": [0, 0.5]})
    several = read_experiment(path, "paper", noise=[{"kind": "uniform"}, {"clamp": False}])
    assert [n.levels for n in single.evaluations["noise"]] == [(0, 0.5)]
    found = [(n.kind, n.clamp) for n in several.evaluations["noise"]]
    assert found == [("uniform", True), ("gaussian", False)]
    with pytest.raises(ExperimentError, match="noise: .*distinct"):
        read_experiment(path, "paper", noise=[{}, {}])


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("[training]", "[training", "not valid TOML"),
        ("scales.smoke", "scales.tiny", r"scale 'smoke' is not among \['paper', 'tiny'\]"),
        ('images = "digits"', "", "images: missing, but networks are to be taught; give them, or"),
        ("title", 'recipe = "walker"\ntitle', "recipe: 'walker', expected one of .*walker2019"),
        ("seeds = [0, 1]\n", "sedes = [0]\n", "sedes: no such setting, nor the table of"),
        ("seeds = [0]\n", "seeds = [0, 0]\n", "seeds: .*expected distinct values"),
        ("seeds = [0]\n", "seeds = []\n", "seeds: missing, but networks are to be taught"),
        ('"shuffle"', '"neural model"', "teachers.1.kind: "),
        ("epochs = 1", "epochs = 0", "training.epochs: .*greater than or equal to 1"),
        ("alpha = 3", "alpha = -1", "training.regularizer.alpha: "),
        ("alpha = 3", "alpa = 3", "training.regularizer.alpa: Extra inputs"),
    ],
)
def test_what_cannot_work_is_named_with_the_file(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in MINIMAL
    path = write(tmp_path, MINIMAL.replace(old, new))
    with pytest.raises(ExperimentError, match=message) as info:
        read_experiment(path, "smoke")
    assert str(info.value).startswith(str(path))
    assert "\n" not in str(info.value)


def test_a_scale_that_is_no_table_is_refused(tmp_path: Path) -> None:
    text = MINIMAL.split("[scales.paper]")[0] + "[scales]\nsmoke = 3\n"
    with pytest.raises(ExperimentError, match=r"scales\.smoke is no table"):
        read_experiment(write(tmp_path, text), "smoke")


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = MINIMAL.replace("epochs = 1", "epochs = 0").replace('"shuffle"', '"neural model"')
    with pytest.raises(ExperimentError, match=r"teachers\.1\.kind: .*; training\.epochs: "):
        read_experiment(write(tmp_path, text), "smoke")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"study\.toml: no such file; expected an exp"):
        read_experiment(tmp_path / "study.toml", "smoke")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_file_is_read_as_editors_of_windows_save_it(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes('title = "Größe"\r\n[scales.smoke]\r\n'.encode(encoding))
    assert scales_of(path) == ["smoke"]
    path.write_bytes('title = "Größe"\n'.encode("latin-1"))
    with pytest.raises(ExperimentError, match="line 1 holds .*Latin-1 reads it as 'ö'"):
        scales_of(path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b"title = '\xff\xfe'")
    with pytest.raises(ExperimentError, match="not valid TOML"):
        read_experiment(path, "smoke")


def test_a_scale_whose_name_no_table_holds_is_refused_before_anything_is_planned() -> None:
    from pipeline.experiments.adding import add_experiment

    settings = read_experiment(FILES[0], scales_of(FILES[0])[0])
    with pytest.raises(ExperimentError, match="scale: .* has 17 characters, expected at most 16"):
        add_experiment(settings, name="study", scale="s" * 17)


def test_a_network_may_have_a_v1_block_in_one_of_its_variants(tmp_path: Path) -> None:
    text = (
        MINIMAL
        + """
[[variants]]

[[variants]]
[variants.network.v1]
field_of_view = 2
image_size = 32
"""
    )
    plain, with_v1 = (
        network for network, _ in read_experiment(write(tmp_path, text), "paper").variations
    )
    assert plain == NetworkConfig()
    assert with_v1.v1 is not None and with_v1.v1.pixels_per_degree == 16
    unknown = text + 'noise = "white"\n'
    with pytest.raises(ExperimentError, match="v1.noise: .*'on', 'fixed', 'training' or 'off'"):
        read_experiment(write(tmp_path, unknown), "paper")


def test_layers_of_a_network_with_a_v1_block_are_checked_without_building_it(
    tmp_path: Path,
) -> None:
    text = MINIMAL + "[network.v1]\nstride = 2\n"
    chosen = text.replace("alpha = 3", 'alpha = 3\nlayers = ["stem.cells", "stage1"]')
    read_experiment(write(tmp_path, chosen), "paper")
    with pytest.raises(ExperimentError, match="layers: stem are not among .*: stem.cells, stage1"):
        read_experiment(
            write(tmp_path, text.replace("alpha = 3", 'alpha = 3\nlayers = ["stem"]')), "paper"
        )
