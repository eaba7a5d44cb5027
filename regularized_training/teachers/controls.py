"""Teachers that are not the brain, or are it in part: each says what one property is worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision.models import VGG19_Weights, vgg19

from predictive_model.randomness import seeded
from predictive_model.recordings.gabor import GaborEnergies
from predictive_model.recordings.gabor_config import GaborConfig
from regularized_training.networks.normalisation import Normalise
from regularized_training.networks.weights import read_weights
from regularized_training.teachers.similarity import similarity
from regularized_training.teachers.stimuli import prepare_stimuli
from regularized_training.teachers.teacher import SimilarityTeacher

CONV3_1 = 12  # modules of torchvision's vgg19().features up to the ReLU after conv3-1
GABOR_POOL = 4  # pixels; a mouse's receptive fields are larger
BATCH = 64


def shuffle_teacher(teacher: SimilarityTeacher, seed: int = 0) -> SimilarityTeacher:
    """The same similarity values assigned to the wrong images: rows and columns permuted together.

    Images that are held out are left as they are: a network is judged by the truth.
    """
    order = np.arange(len(teacher.stimuli))
    taught = np.setdiff1d(order, teacher.held_out)
    order[taught] = np.random.default_rng(seed).permutation(taught)
    matrix = np.ascontiguousarray(teacher.similarity[np.ix_(order, order)])
    return replace(teacher, name="shuffle", similarity=matrix)


def shuffle_entries_teacher(teacher: SimilarityTeacher, seed: int = 0) -> SimilarityTeacher:
    """The same similarity values assigned to the wrong pairs, as no features have them in general.

    The matrix stays symmetric with 1 on the diagonal; it is no longer positive semidefinite.
    Pairs of held-out images are left as they are, and what is not known stays unknown.
    """
    n = len(teacher.stimuli)
    taught = np.setdiff1d(np.arange(n), teacher.held_out)
    i, j = np.triu_indices(len(taught), 1)
    i, j = taught[i], taught[j]
    if teacher.sparse:
        known = np.isfinite(teacher.similarity[i, j])
        i, j = i[known], j[known]
    matrix = teacher.similarity.copy()
    matrix[i, j] = np.random.default_rng(seed).permutation(teacher.similarity[i, j])
    matrix[j, i] = matrix[i, j]
    return replace(teacher, name="shuffle_entries", similarity=matrix)


def low_rank_teacher(teacher: SimilarityTeacher, rank: int) -> SimilarityTeacher:
    """Similarity along the strongest `rank` directions alone.

    The unit vectors e of Eq. 6 are projected on the eigenvectors of the matrix with the largest
    eigenvalues, and brought to unit length again.

    Raises
    ------
    ValueError
        If the rank is as large as the number of stimuli or larger.
    """
    n = len(teacher.stimuli)
    if not 1 <= rank < n:
        raise ValueError(f"rank: {rank}, expected 1 to {n - 1}, less than the number of stimuli")
    values, vectors = torch.linalg.eigh(torch.from_numpy(teacher.similarity).double())
    e = (vectors[:, -rank:] * values[-rank:].clamp(min=0).sqrt()).numpy()
    norm = np.linalg.norm(e, axis=1, keepdims=True)
    e = np.divide(e, norm, out=np.zeros_like(e), where=norm > 1e-9)
    matrix = np.clip(e @ e.T, -1, 1).astype(np.float32)
    np.fill_diagonal(matrix, 1)
    return replace(teacher, name="low_rank", similarity=matrix)


def matched_spectrum_teacher(teacher: SimilarityTeacher, seed: int = 0) -> SimilarityTeacher:
    """Random similarity with the eigenvalues of the teacher's: as many dimensions, as strong.

    Of `shuffle`, which has the same spectrum, it differs in the values: images come in no groups,
    and no two are more alike than chance makes them. Drawn by the method of Davies and Higham
    (2000), BIT 40, 640.
    """
    from scipy.stats import random_correlation  # takes a second to import

    values = torch.linalg.eigvalsh(torch.from_numpy(teacher.similarity).double()).clamp(min=0)
    values *= len(values) / values.sum()
    drawn = random_correlation(values.numpy(), seed=seed, tol=1e-6, diag_tol=1e-6).rvs()
    matrix = np.clip((drawn + drawn.T) / 2, -1, 1).astype(np.float32)
    np.fill_diagonal(matrix, 1)
    return replace(teacher, name="matched_spectrum", similarity=matrix)


def pixel_teacher(stimuli: NDArray) -> SimilarityTeacher:
    """Similarity of the stimuli themselves, Eq. 2 with pixels for neurons."""
    matrix = similarity(stimuli.reshape(len(stimuli), -1))
    return SimilarityTeacher("pixels", stimuli, matrix, centred=True)


def low_pass_pixel_teacher(stimuli: NDArray, sigma: float = 2.0) -> SimilarityTeacher:
    """Similarity of the stimuli through a Gaussian low-pass filter: of their coarse structure.

    Parameters
    ----------
    stimuli : (n, channels, height, width)
    sigma : float
        Standard deviation of the filter, in pixels; borders are reflected.

    Raises
    ------
    ValueError
        If `sigma` is not above 0.
    """
    from scipy.ndimage import gaussian_filter  # which other teachers need not wait for

    if not 0 < sigma < float("inf"):
        raise ValueError(f"sigma: {sigma}, expected pixels above 0; 0 is the teacher pixels")
    blurred = gaussian_filter(np.asarray(stimuli, np.float32), sigma=(0, 0, sigma, sigma))
    matrix = similarity(blurred.reshape(len(blurred), -1))
    return SimilarityTeacher("low_pass_pixels", stimuli, matrix, centred=True)


def gabor_teacher(stimuli: NDArray, config: GaborConfig | None = None) -> SimilarityTeacher:
    """Similarity of a textbook model of V1: amplitudes of Gabors, as complex cells have them.

    Each amplitude is divided by its standard deviation over the stimuli, as responses are
    before an encoder is fitted, so that coarse and fine Gabors count alike.

    Parameters
    ----------
    stimuli : (n, channels, height, width)
    config : GaborConfig, optional
        By default 8 orientations and those of its wavelengths whose Gabors fit into the image.
    """
    matrix = similarity(gabor_amplitudes(stimuli, config))
    return SimilarityTeacher("gabor", stimuli, matrix, centred=True)


def gabor_amplitudes(stimuli: NDArray, config: GaborConfig | None = None) -> NDArray[np.float32]:
    """Amplitudes of Gabors, each in units of its standard deviation over the stimuli.

    Parameters
    ----------
    stimuli : (n, channels, height, width)
    config : GaborConfig, optional
        As of :func:`gabor_teacher`.

    Returns
    -------
    (n, gabor) float32
        0 for Gabors whose amplitude does not change.
    """
    images = prepare_stimuli(stimuli, 1)
    shape: tuple[int, int, int] = (1, *images.shape[2:])
    energies = GaborEnergies(config or _gabors_that_fit(shape), shape)
    with torch.inference_mode():
        amplitudes = torch.cat([energies(part).flatten(1) for part in images.split(BATCH)]).numpy()
    std = amplitudes.std(0)
    return amplitudes * np.divide(1, std, out=np.zeros_like(std), where=std > 1e-6 * std.max())


def _gabors_that_fit(shape: tuple[int, int, int]) -> GaborConfig:
    wavelengths = GaborConfig().wavelengths
    while wavelengths:
        config = GaborConfig(wavelengths=wavelengths, pool=GABOR_POOL)
        try:
            GaborEnergies(config, shape)
        except ValueError:
            wavelengths = wavelengths[:-1]
        else:
            return config
    raise ValueError(f"stimuli: {shape[1]} x {shape[2]} pixels, too small for any Gabor")


def vgg_teacher(
    stimuli: NDArray,
    *,
    trained: bool = True,
    weights_file: Path | str | None = None,
    seed: int = 0,
) -> SimilarityTeacher:
    """Similarity of VGG-19's features at conv3-1, after the ReLU: the paper's control ``vgg``.

    Parameters
    ----------
    stimuli : (n, channels, height, width)
        Grey ones are repeated for the three channels.
    trained : bool
        With torchvision's ImageNet weights; without, they are random, which says what the
        architecture alone is worth.
    weights_file : path, optional
        A file of torchvision's ``vgg19`` weights. By default the one in torch's own cache,
        ``$TORCH_HOME/hub/checkpoints``, which is downloaded into it if missing.
    seed : int
        Of random weights.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, or does not hold these weights.
    OSError
        If there is no file and it cannot be downloaded; the message says where to put it.
    """
    with seeded(seed):
        features = vgg19(weights=None).features[:CONV3_1].eval()
    if trained:
        _load_vgg(features, weights_file)
    trunk = nn.Sequential(Normalise(3), features).to(memory_format=torch.channels_last)
    images = prepare_stimuli(stimuli, 3)
    with torch.inference_mode():
        rows = [trunk(part).flatten(1) for part in images.split(BATCH)]
    matrix = similarity(torch.cat(rows).numpy())
    name = "vgg" if trained else "vgg_untrained"
    return SimilarityTeacher(name, stimuli, matrix, centred=True)


def _load_vgg(features: nn.Module, file: Path | str | None) -> None:
    file = _downloaded() if file is None else Path(file)
    state = read_weights(file, expected="torchvision's weights of vgg19")
    wanted = {name: state.get(f"features.{name}") for name in features.state_dict()}
    missing = [name for name, value in wanted.items() if not isinstance(value, torch.Tensor)]
    if missing:
        raise ValueError(
            f"{file}: has no features.{missing[0]}, expected torchvision's weights of vgg19"
        )
    try:
        features.load_state_dict(wanted)
    except RuntimeError as error:
        raise ValueError(
            f"{file}: expected torchvision's weights of vgg19, but they do not fit ({error})"
        ) from error


def _downloaded() -> Path:
    weights = VGG19_Weights.IMAGENET1K_V1
    place = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not place.is_file():
        try:
            weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except (OSError, RuntimeError) as error:  # the latter if what came has another hash
            raise OSError(
                f"VGG-19's weights are neither at {place} nor to be had from {weights.url} "
                f"({error}); put the file there, or use the teacher vgg_untrained"
            ) from error
    return place
