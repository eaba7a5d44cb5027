"""Teachers that are not the brain, or are it in part, against what each is said to be."""

import os
from collections import OrderedDict
from dataclasses import replace
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import VGG19_Weights, vgg, vgg19

from predictive_model.recordings.gabor import GaborEnergies
from predictive_model.recordings.gabor_config import GaborConfig
from regularized_training.teachers import controls
from regularized_training.teachers.controls import (
    CONV3_1,
    gabor_teacher,
    low_pass_pixel_teacher,
    low_rank_teacher,
    matched_spectrum_teacher,
    pixel_teacher,
    shuffle_entries_teacher,
    shuffle_teacher,
    vgg_teacher,
)
from regularized_training.teachers.rsm import teacher_from_pairs
from regularized_training.teachers.teacher import neural_model_teacher

UPPER = np.triu_indices(30, 1)
HELD_OUT = np.array([0, 7, 11, 23, 29])


@pytest.fixture
def teacher():
    """Similarity of five neurons for 30 stimuli."""
    stimuli = np.random.default_rng(1).integers(0, 256, (30, 1, 6, 6)).astype(np.uint8)
    rng = np.random.default_rng(2)
    return neural_model_teacher(stimuli, [rng.random((30, 5))], [np.ones(5)])


def literal_cosines(rows):
    """Cosine of every pair of centred rows, one pair at a time."""
    centred = np.asarray(rows, np.float64) - np.mean(rows, axis=0, dtype=np.float64)
    return np.array(
        [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in centred] for a in centred]
    )


# -- shuffles ------------------------------------------------------------------------------


def test_shuffling_keeps_values_and_spectrum_and_breaks_the_link_to_images(teacher):
    shuffled = shuffle_teacher(teacher, seed=0)
    before, after = teacher.similarity, shuffled.similarity
    np.testing.assert_array_equal(np.sort(after[UPPER]), np.sort(before[UPPER]))
    np.testing.assert_array_equal(np.diag(after), 1)
    np.testing.assert_allclose(np.linalg.eigvalsh(after), np.linalg.eigvalsh(before), atol=1e-4)
    np.testing.assert_array_equal(shuffled.stimuli, teacher.stimuli)
    assert abs(np.corrcoef(after[UPPER], before[UPPER])[0, 1]) < 0.3


def test_shuffling_entries_keeps_values_and_makes_them_the_similarity_of_nothing(teacher):
    shuffled = shuffle_entries_teacher(teacher, seed=0)
    before, after = teacher.similarity, shuffled.similarity
    np.testing.assert_array_equal(np.sort(after[UPPER]), np.sort(before[UPPER]))
    np.testing.assert_array_equal(np.diag(after), 1)
    np.testing.assert_array_equal(after, after.T)
    assert np.linalg.eigvalsh(before).min() > -1e-4  # as of any features
    assert np.linalg.eigvalsh(after).min() < -1
    assert abs(np.corrcoef(after[UPPER], before[UPPER])[0, 1]) < 0.3


SHUFFLES = pytest.mark.parametrize("shuffle", [shuffle_teacher, shuffle_entries_teacher])


@SHUFFLES
def test_shuffles_do_not_correlate_with_what_was_shuffled_on_average(teacher, shuffle):
    r = [
        np.corrcoef(shuffle(teacher, s).similarity[UPPER], teacher.similarity[UPPER])[0, 1]
        for s in range(100)
    ]
    assert abs(np.mean(r)) < 0.05


@SHUFFLES
def test_the_seed_shuffles(teacher, shuffle):
    first, again, other = (shuffle(teacher, seed=s).similarity for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@SHUFFLES
def test_a_network_is_judged_by_the_truth_about_stimuli_that_are_held_out(teacher, shuffle):
    teacher = replace(teacher, held_out=HELD_OUT)
    before = teacher.similarity.copy()
    shuffled = shuffle(teacher, seed=0)
    np.testing.assert_array_equal(shuffled.held_out, HELD_OUT)
    np.testing.assert_array_equal(shuffled.withheld.similarity, teacher.withheld.similarity)
    upper = np.triu_indices(25, 1)
    taught, true = (t.teaching.similarity[upper] for t in (shuffled, teacher))
    np.testing.assert_array_equal(np.sort(taught), np.sort(true))
    assert (taught != true).mean() > 0.9
    np.testing.assert_array_equal(teacher.similarity, before)  # which is not written to


# -- low rank ------------------------------------------------------------------------------


def test_a_similarity_of_few_directions_is_kept_by_as_many(teacher):
    np.testing.assert_allclose(
        low_rank_teacher(teacher, 5).similarity, teacher.similarity, atol=1e-5
    )


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_no_directions_are_left_beyond_the_rank(teacher, rank):
    low = low_rank_teacher(replace(teacher, held_out=HELD_OUT), rank)
    values = np.linalg.eigvalsh(low.similarity.astype(np.float64))
    np.testing.assert_allclose(values[:-rank], 0, atol=1e-5)
    assert values[-rank] > 0.1
    np.testing.assert_array_equal(np.diag(low.similarity), 1)
    np.testing.assert_array_equal(low.held_out, HELD_OUT)


def test_one_direction_tells_two_sides_apart(teacher):
    said = low_rank_teacher(teacher, 1).similarity
    np.testing.assert_allclose(np.abs(said), 1, atol=1e-6)
    assert (said < 0).any()


def test_two_planted_directions_are_found_below_weak_ones(teacher):
    rng = np.random.default_rng(0)
    planted = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 40))
    clean, noisy = (
        neural_model_teacher(teacher.stimuli, [responses], [np.ones(40)])
        for responses in (planted, planted + 0.5 * rng.standard_normal((30, 40)))
    )
    found = low_rank_teacher(noisy, 2)
    off = [np.abs(t.similarity - clean.similarity)[UPPER].mean() for t in (found, noisy)]
    assert off[0] < off[1] / 2


@pytest.mark.parametrize("rank", [0, 30, 31])
def test_a_rank_that_leaves_everything_or_nothing_is_refused(teacher, rank):
    with pytest.raises(ValueError, match=f"rank: {rank}, expected 1 to 29"):
        low_rank_teacher(teacher, rank)


# -- matched spectrum ----------------------------------------------------------------------


def test_random_similarity_has_the_eigenvalues_and_says_nothing_of_the_images(teacher):
    first, again, other = (matched_spectrum_teacher(teacher, seed=seed) for seed in (0, 0, 1))
    expected = np.linalg.eigvalsh(teacher.similarity.astype(np.float64))
    for drawn in (first, other):
        values = np.linalg.eigvalsh(drawn.similarity.astype(np.float64))
        np.testing.assert_allclose(values, expected, atol=1e-4)
        np.testing.assert_array_equal(np.diag(drawn.similarity), 1)
        agreement = np.corrcoef(drawn.similarity[UPPER], teacher.similarity[UPPER])[0, 1]
        assert abs(agreement) < 0.2
    np.testing.assert_array_equal(first.similarity, again.similarity)
    assert np.abs(first.similarity - other.similarity).max() > 0.3


# -- pixels --------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_compared_by_the_cosine_of_their_deviations_from_the_mean(channels):
    stimuli = np.random.default_rng(0).integers(0, 256, (9, channels, 5, 7)).astype(np.uint8)
    found = pixel_teacher(stimuli)
    expected = literal_cosines(stimuli.reshape(9, -1))
    np.testing.assert_allclose(found.similarity, expected, atol=1e-6)
    np.testing.assert_array_equal(found.stimuli, stimuli)


def test_low_passed_pixels_hear_coarse_structure_alone():
    coarse, fine = gratings(wavelength=16)[0, 0] - 127.5, gratings(wavelength=3)[[0, 4], 0] - 127.5
    pairs = [[sign * coarse + 0.9 * one for one in fine] for sign in (1, -1)]
    stimuli = np.clip(127.5 + 0.6 * np.concatenate(pairs), 0, 255).round().astype(np.uint8)[:, None]
    sharp, blurred = pixel_teacher(stimuli), low_pass_pixel_teacher(stimuli, 2)
    assert sharp.similarity[0, 1] < 0.7
    assert blurred.similarity[0, 1] > 0.99
    assert blurred.similarity[0, 2] < -0.99


@pytest.mark.parametrize("sigma", [0, -1, float("nan")])
def test_a_filter_of_no_width_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma: .*, expected pixels above 0"):
        low_pass_pixel_teacher(gratings(), sigma)


# -- Gabors --------------------------------------------------------------------------------


def gratings(size=32, wavelength=8):
    """Of four orientations, 0, 45, 90 and 135 degrees, each in two opposite phases."""
    y, x = np.mgrid[:size, :size]
    made = []
    for angle in np.pi * np.arange(4) / 4:
        wave = np.sin(2 * np.pi / wavelength * (np.cos(angle) * x + np.sin(angle) * y) + 0.3)
        made += [127.5 + 100 * wave, 127.5 - 100 * wave]
    return np.round(made).astype(np.uint8)[:, None]


def test_complex_cells_see_orientation_and_pixels_see_phase():
    seen, pixels = (make(gratings()).similarity for make in (gabor_teacher, pixel_teacher))
    opposite_phase = (np.arange(0, 8, 2), np.arange(1, 8, 2))
    orthogonal = (np.arange(8), (np.arange(8) + 4) % 8)
    assert (seen[opposite_phase] > 0.99).all()
    assert (seen[orthogonal] < 0).all()
    assert (pixels[opposite_phase] < -0.99).all()
    assert (pixels[orthogonal] > -0.1).all()


def test_coarse_and_fine_gabors_count_alike():
    """The similarity is that of amplitudes in units of their standard deviation."""
    stimuli = np.random.default_rng(0).integers(0, 256, (7, 1, 32, 32)).astype(np.uint8)
    energies = GaborEnergies(GaborConfig(pool=4), (1, 32, 32))
    amplitudes = energies(torch.from_numpy(stimuli).float() / 255).flatten(1).numpy()
    scores = (amplitudes - amplitudes.mean(0)) / amplitudes.std(0)
    np.testing.assert_allclose(
        gabor_teacher(stimuli).similarity, literal_cosines(scores), atol=1e-4
    )


@pytest.mark.parametrize(
    ("shape", "wavelengths"),
    [
        ((25, 30), (3.0, 5.0, 8.0, 13.0, 21.0)),
        ((24, 30), (3.0, 5.0, 8.0, 13.0)),
        ((30, 10), (3.0, 5.0, 8.0)),
        ((8, 8), (3.0, 5.0)),
        ((6, 6), (3.0,)),
    ],
)
def test_only_gabors_that_fit_into_small_stimuli_are_used(shape, wavelengths):
    stimuli = np.random.default_rng(0).integers(0, 256, (5, 1, *shape)).astype(np.uint8)
    same = gabor_teacher(stimuli, GaborConfig(wavelengths=wavelengths, pool=4))
    np.testing.assert_array_equal(gabor_teacher(stimuli).similarity, same.similarity)


def test_stimuli_too_small_for_any_gabor_are_refused():
    stimuli = np.random.default_rng(0).integers(0, 256, (5, 1, 4, 30)).astype(np.uint8)
    with pytest.raises(ValueError, match="stimuli: 4 x 30 pixels, too small for any Gabor"):
        gabor_teacher(stimuli)


# -- VGG -----------------------------------------------------------------------------------

STIMULI = np.random.default_rng(0).integers(0, 256, (6, 1, 16, 16)).astype(np.uint8)
CONVOLUTIONS = ("0", "2", "5", "7", "10")  # up to conv3-1 in torchvision's vgg19().features


@pytest.fixture
def without_classifier(monkeypatch):
    """Neither VGG-19's classifier nor its later stages, which take seconds to make."""

    def few_layers(weights=None):
        return SimpleNamespace(features=vgg.make_layers(vgg.cfgs["E"][:9], batch_norm=False))

    monkeypatch.setattr(controls, "vgg19", few_layers)


def some_weights():
    """As torchvision names them, of the layers up to conv3-1."""
    rng = torch.Generator().manual_seed(0)
    weights, channels = OrderedDict(), 3
    for layer, out in zip(CONVOLUTIONS, (64, 64, 128, 128, 256), strict=True):
        kernel = torch.randn(out, channels, 3, 3, generator=rng) * (2 / (9 * channels)) ** 0.5
        weights[f"features.{layer}.weight"] = kernel
        weights[f"features.{layer}.bias"] = torch.randn(out, generator=rng) / 10
        channels = out
    return weights


@pytest.fixture
def weights_file(without_classifier, tmp_path):
    weights = some_weights() | {"classifier.6.bias": torch.zeros(1000)}
    torch.save(weights, tmp_path / "vgg19.pth")
    return tmp_path / "vgg19.pth"


def literal_features(stimuli):
    """Conv3-1 after the ReLU, function by function, of grey or colour bytes."""
    w = some_weights()
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]  # ImageNet's
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    x = (torch.from_numpy(stimuli).float() / 255).expand(-1, 3, -1, -1)
    x = (x - mean) / std
    for layer in CONVOLUTIONS:
        if layer in ("5", "10"):
            x = F.max_pool2d(x, 2)
        weight, bias = (w[f"features.{layer}.{name}"] for name in ("weight", "bias"))
        x = F.relu(F.conv2d(x, weight, bias, padding=1))
    return x.flatten(1).numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_vgg_sees_stimuli_as_its_layers_one_by_one(weights_file, channels):
    stimuli = np.random.default_rng(1).integers(0, 256, (6, channels, 16, 16)).astype(np.uint8)
    found = vgg_teacher(stimuli, weights_file=weights_file)
    expected = literal_cosines(literal_features(stimuli))
    np.testing.assert_allclose(found.similarity, expected, atol=1e-4)
    assert found.name == "vgg"


def test_conv3_1_is_the_fifth_convolution_of_torchvisions_vgg19():
    with torch.device("meta"):
        read = vgg19(weights=None).features[:CONV3_1]
    convolutions = [m for m in read if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64, 64, 128, 128, 256]
    assert sum(isinstance(m, nn.MaxPool2d) for m in read) == 2  # so it is the first of stage 3
    assert isinstance(read[-1], nn.ReLU)


def test_weights_in_torchs_cache_are_found_there(weights_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    place = tmp_path / "torch" / "hub" / "checkpoints"
    place.mkdir(parents=True)
    weights_file.rename(place / "vgg19-dcbb9e9d.pth")
    expected = literal_cosines(literal_features(STIMULI))
    np.testing.assert_allclose(vgg_teacher(STIMULI).similarity, expected, atol=1e-4)


def test_the_seed_decides_untrained_weights_and_random_state_is_left_alone(without_classifier):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (vgg_teacher(STIMULI, trained=False, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    np.testing.assert_array_equal(first.similarity, again.similarity)
    assert np.abs(first.similarity - other.similarity).max() > 1e-3
    assert first.name == "vgg_untrained"


# -- weights that are none -----------------------------------------------------------------


class RunsCode:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def write_truncated(file, tmp_path):
    torch.save(some_weights(), file)
    file.write_bytes(file.read_bytes()[:10_000])


def write_without(file, tmp_path):
    weights = some_weights()
    del weights["features.7.bias"]
    torch.save(weights, file)


DAMAGED = {
    "text": lambda file, tmp_path: file.write_text("404 not found"),
    "truncated": write_truncated,
    "code": lambda file, tmp_path: torch.save(RunsCode(tmp_path / "ran"), file),
}
OTHERS = {
    "lacks a layer": (write_without, r"has no features\.7\.bias"),
    "list": (lambda file, _: torch.save([torch.zeros(2)], file), r"has no features\.0\.weight"),
    "of another shape": (
        lambda file, _: torch.save(
            some_weights() | {"features.0.weight": torch.zeros(64, 1, 3, 3)}, file
        ),
        r"but they do not fit",
    ),
    "no tensor": (
        lambda file, _: torch.save(some_weights() | {"features.2.bias": "zero"}, file),
        r"has no features\.2\.bias",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_file_that_is_damaged_or_would_run_code_is_refused(without_classifier, tmp_path, kind):
    file = tmp_path / "weights.pth"
    DAMAGED[kind](file, tmp_path)
    with pytest.raises(ValueError, match=r"weights\.pth: cannot be read as torch's weights"):
        vgg_teacher(STIMULI, weights_file=file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_in_torchs_cache_is_refused_by_its_name(
    without_classifier, tmp_path, monkeypatch, kind
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    file.parent.mkdir(parents=True)
    DAMAGED[kind](file, tmp_path)
    with pytest.raises(ValueError, match=r"vgg19-dcbb9e9d\.pth: cannot be read .* again"):
        vgg_teacher(STIMULI)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", OTHERS)
def test_weights_of_something_else_are_refused(without_classifier, tmp_path, kind):
    write, message = OTHERS[kind]
    write(tmp_path / "weights.pth", tmp_path)
    with pytest.raises(ValueError, match=rf"weights\.pth: .*{message}"):
        vgg_teacher(STIMULI, weights_file=tmp_path / "weights.pth")


def test_a_missing_file_is_named(without_classifier, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth: no such file"):
        vgg_teacher(STIMULI, weights_file=str(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("invalid hash value")])
def test_where_weights_cannot_be_downloaded_it_is_said_where_to_put_them(
    without_classifier, tmp_path, monkeypatch, error
):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(OSError, match=r"\(.*(no route|hash).*\); put the file there") as caught:
        vgg_teacher(STIMULI)
    place = tmp_path / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    assert str(place) in str(caught.value)
    assert VGG19_Weights.IMAGENET1K_V1.url in str(caught.value)


def test_pairs_that_are_not_known_stay_unknown_when_the_others_are_exchanged() -> None:
    rng = np.random.default_rng(0)
    stimuli = rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    pairs = np.stack(np.triu_indices(20, 1), 1)[::2]
    sparse = teacher_from_pairs(stimuli, pairs, rng.uniform(0, 1, len(pairs)))
    found = controls.shuffle_entries_teacher(sparse, seed=1)
    assert np.array_equal(found.known_pairs, sparse.known_pairs)
    i, j = sparse.known_pairs
    assert np.array_equal(np.sort(found.similarity[i, j]), np.sort(sparse.similarity[i, j]))
    assert not np.array_equal(found.similarity[i, j], sparse.similarity[i, j])
    moved = controls.shuffle_teacher(sparse, seed=1)
    assert moved.sparse
    assert moved.known_pairs.shape == sparse.known_pairs.shape
    assert not np.array_equal(moved.known_pairs, sparse.known_pairs)
