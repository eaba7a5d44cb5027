"""Array files: both forms hold the same recording, and what cannot be one is refused."""

import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictive_model.importers import describe_recording, read_recording, scan_recording
from predictive_model.importers.arrays import describe_arrays, read_arrays
from predictive_model.recordings.recording import RecordingError

N = 24


def make(**changes):
    """Arrays of a file in the form of ``responses``; None takes one out."""
    rng = np.random.default_rng(0)
    index = np.r_[np.arange(N), :4, :4]
    given = {
        "images": rng.integers(0, 256, (N, 6, 8)).astype(np.uint8),
        "responses": rng.poisson(2.0, (N + 8, 3)).astype(np.float32),
        "image_index": index,
    }
    return {k: v for k, v in (given | changes).items() if v is not None}


def trials(n=N, repeats=1, extra=4):
    """The form of ``trials``: the first images three times, the others once."""
    rng = np.random.default_rng(1)
    out = np.full((n, 3, 3), np.nan, np.float32)
    out[:, :repeats] = rng.poisson(2.0, (n, repeats, 3))
    out[:extra] = rng.poisson(2.0, (extra, 3, 3))
    return out


@pytest.fixture
def write(tmp_path):
    def write(**arrays):
        path = tmp_path / "scan7.npz"
        np.savez_compressed(path, **arrays)
        return path

    return write


def test_responses_are_read_as_they_were_written(write):
    rng = np.random.default_rng(2)
    index = make()["image_index"]
    tier = np.where(index < 4, "test", np.where(index < 8, "validation", "train"))
    given = make(
        behaviour=rng.random((N + 8, 2)).astype(np.float32),
        pupil=rng.random((N + 8, 2)).astype(np.float32),
        tier=tier,
        neuron_ids=np.array([5, 3, 8]),
    )
    recording = read_arrays(write(**given), species="mouse", area="V1")
    np.testing.assert_array_equal(recording.images, given.pop("images")[:, None])
    for field, values in given.items():
        np.testing.assert_array_equal(getattr(recording, field), values, err_msg=field)
    assert (recording.name, recording.species, recording.area) == ("scan7", "mouse", "V1")
    assert not recording.simulated
    assert read_arrays(write(**given, images=make()["images"]), name="other").name == "other"


def test_without_an_index_trial_i_showed_image_i(write):
    arrays = make(image_index=None)
    arrays["responses"] = arrays["responses"][:N]
    np.testing.assert_array_equal(read_arrays(write(**arrays)).image_index, np.arange(N))


def test_images_may_have_channels_and_may_be_floats(write):
    grey = make()["images"]
    colour = np.repeat(grey[:, None], 3, axis=1)
    np.testing.assert_array_equal(read_arrays(write(**make(images=colour))).images, colour)
    for dtype in (np.float16, np.float32, np.float64):
        images = read_arrays(write(**make(images=grey.astype(dtype)))).images
        assert images.dtype == np.float32
        np.testing.assert_array_equal(images[:, 0], grey)


def test_whole_floats_are_an_index_and_small_integers_are_grey_values(write):
    arrays = make()
    recording = read_arrays(
        write(
            **make(
                image_index=arrays["image_index"] * 1.0, images=arrays["images"].astype(np.int64)
            )
        )
    )
    assert (recording.image_index.dtype, recording.images.dtype) == (np.int64, np.uint8)
    np.testing.assert_array_equal(recording.image_index, arrays["image_index"])
    np.testing.assert_array_equal(recording.images[:, 0], arrays["images"])


def test_a_missing_repeat_is_no_trial(write):
    given = trials()
    recording = read_arrays(write(images=make()["images"], trials=given))
    assert recording.n_trials == N + 8
    np.testing.assert_array_equal(recording.images_of("test"), np.arange(4))
    np.testing.assert_array_equal(recording.repeated_trials(np.arange(N)), given)


@given(
    shown=st.lists(st.integers(1, 4), min_size=12, max_size=12).filter(lambda n: n.count(1) >= 2),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_both_forms_give_the_same_recording(tmp_path_factory, shown, seed):
    """Whatever the number of repeats, and wherever in the row the missing ones stand."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (12, 5, 5)).astype(np.uint8)
    there = np.stack([rng.permutation(4) < n for n in shown])
    by_image = np.where(there[..., None], rng.poisson(3.0, (12, 4, 2)), np.nan)
    folder = tmp_path_factory.mktemp("forms")
    np.savez(folder / "a.npz", images=images, trials=by_image)
    image, repeat = np.nonzero(there)
    np.savez(folder / "b.npz", images=images, responses=by_image[image, repeat], image_index=image)
    a, b = (read_arrays(folder / f"{name}.npz", name="scan", seed=seed) for name in "ab")
    for field in ("images", "image_index", "responses", "tier", "neuron_ids"):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)


def test_neither_responses_nor_tiers_depend_on_the_order_of_trials(write):
    arrays = make()
    shuffled = np.random.default_rng(4).permutation(N + 8)
    a = read_arrays(write(**arrays))
    b = read_arrays(
        write(**make(
            responses=arrays["responses"][shuffled], image_index=arrays["image_index"][shuffled]
        ))
    )  # fmt: skip
    np.testing.assert_allclose(
        np.nanmean(a.repeated_trials(), axis=1), np.nanmean(b.repeated_trials(), axis=1), rtol=1e-6
    )
    np.testing.assert_array_equal(a.images_of("validation"), b.images_of("validation"))


def test_test_images_are_chosen_where_all_were_repeated(write):
    path = write(images=make()["images"], trials=trials(repeats=3))
    with pytest.raises(
        RecordingError, match=r"tier: 24 of 24 images are repeated.*`test_images`.*--test-im"
    ):
        read_arrays(path)
    first, again, other = (read_arrays(path, test_images=5, seed=s) for s in (0, 0, 1))
    assert len(first.images_of("test")) == 5
    np.testing.assert_array_equal(first.tier, again.tier)
    assert (first.images_of("test") != other.images_of("test")).any()


def test_images_may_have_names_in_place_of_numbers(write):
    arrays = make()
    names = np.array([f"im{i:03d}.png" for i in range(N)])[::-1]
    named = read_arrays(write(**arrays | {
        "image_index": names[arrays["image_index"]], "image_names": names,
    }))  # fmt: skip
    np.testing.assert_array_equal(named.image_index, arrays["image_index"])


def test_images_may_be_counted_from_one_and_trials_may_be_blank(write):
    arrays = make()
    index = arrays["image_index"] + 1.0
    index[[3, 5]] = np.nan, 0
    scan, report = scan_recording(
        write(**arrays | {"image_index": index}), options={"first_image": 1}
    )
    np.testing.assert_array_equal(scan.image_index, np.delete(arrays["image_index"], [3, 5]))
    assert report.notes[0] == "2 trials without an image are left out"


def test_deep_integers_and_channels_that_come_last_are_images(write):
    colour = np.random.default_rng(0).integers(0, 65536, (N, 6, 8, 3)).astype(np.uint16)
    images = read_arrays(write(**make(images=colour))).images
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, colour.transpose(0, 3, 1, 2))


def test_options_say_which_of_several_arrays_is_what(write):
    arrays = make()
    wanted = arrays["responses"] + 1
    path = write(**arrays, dff=wanted, trials=trials(), note=np.array("x"))
    with pytest.raises(RecordingError, match="either `trials` or `responses`.*`--option ignore=tr"):
        read_recording(path)
    with pytest.raises(RecordingError, match="are not known"):
        read_recording(path, options={"ignore": "trials"})
    scan = read_recording(path, options={"responses": "dff", "ignore": "all"})
    np.testing.assert_array_equal(scan.responses, wanted)
    kept = read_recording(path, options={"ignore": ["trials", "dff", "note"]})
    np.testing.assert_array_equal(kept.responses, arrays["responses"])
    report = describe_recording(path, options={"responses": "dff", "ignore": "all"})
    assert report.n_trials == N + 8
    with pytest.raises(RecordingError, match="responses: no array 'rates' among"):
        read_recording(path, options={"responses": "rates"})


# -- refusals ------------------------------------------------------------------------------

REFUSED = {
    "no images": (make(images=None), r"lacks `images`; it holds \['image_index', 'respon"),
    "no responses": (
        {"images": make()["images"]}, r"lacks `responses` \(or `trials`\); it holds \['images'\]",
    ),
    "nothing that is needed": (
        {"species": np.array("mouse")}, r"lacks `images` and `responses` \(or `trials`\); it holds",
    ),
    "both forms": (make(trials=trials()), "expected either `trials` or `responses`"),
    "an unknown array": (
        make(pupils=np.ones(3)), r"\['pupils'\] are not known; expected images.* ignore=all",
    ),
    "names of unknown images": (
        make(image_index=np.full(N + 8, "cat")), "image_index: names such as 'cat'.*`image_names`",
    ),
    "names that are not among those": (
        make(image_index=np.full(N + 8, "cat"), image_names=np.arange(N).astype(str)),
        r"image_index: 'cat' is not among image_names, \['0', '1', '2'\] ...; expected",
    ),
    "names that repeat": (
        make(image_index=np.full(N + 8, "a"), image_names=np.full(N, "a")),
        "image_index: image_names repeat",
    ),
    "trials beside an index": (
        make(trials=trials(), responses=None), r"\['image_index'\] go by trial .* use `responses`",
    ),
    "trials beside tiers": (
        {"images": make()["images"], "trials": trials(), "tier": ["train"] * N},
        r"\['tier'\] go by trial",
    ),
    "trials of other images": (
        {"images": make()["images"], "trials": trials(n=20)},
        r"trials: shape \(20, 3, 3\), expected \(24, repeat, neuron\)",
    ),
    "flat trials": (
        {"images": make()["images"], "trials": np.ones((N, 3))}, r"trials: shape \(24, 3\)",
    ),
    "complex trials": (
        {"images": make()["images"], "trials": trials().astype(complex)},
        "trials: type complex128, expected real numbers",
    ),
    "trials of text": (
        {"images": make()["images"], "trials": trials().astype(str)}, "trials: type <U32",
    ),
    "pickled objects": (
        make(responses=make()["responses"].astype(object)), "cannot be read as an .npz .*Object",
    ),
    "images of five axes": (make(images=np.ones((N, 1, 1, 6, 8))), "images: shape .* expected"),
    "one number as responses": (
        make(responses=np.float32(1)), "responses: shape .* expected 2 dimensions",
    ),
    "an index of floats": (
        make(image_index=make()["image_index"] + 0.5), "image_index: type float64, expected int",
    ),
    "an index beyond the images": (
        make(image_index=make()["image_index"] + 1),
        "image_index: values from 1 to 24.*; count from 0",
    ),
    "images by height and width first": (
        make(images=make()["images"].transpose(1, 2, 0)),
        "values from 0 to 23, .*; does the last axis of `images`, of length 24, count them",
    ),
    "transposed responses": (
        make(responses=make()["responses"].T),
        r"image_index: shape \(32,\), expected \(3,\), .*; is `responses` transposed\?",
    ),
    "an index of another length": (
        make(image_index=np.arange(N)), r"image_index: shape \(24,\), expected \(32,\)",
    ),
    "negative responses": (make(responses=-make()["responses"]), "responses: .* are negative"),
    "names of no behaviour": (
        make(behaviour_names=np.array(["running"])), "behaviour_names: 1 names for 0 columns",
    ),
    "numbers as names": (
        make(behaviour_names=np.arange(2)), r"behaviour_names: shape \(2,\) of int64, expected a",
    ),
    "several species": (make(species=np.array(["a", "b"])), r"species: shape \(2,\) of <U1, exp"),
    "simulated perhaps": (make(simulated=np.array(0.5)), r"simulated: shape \(\) of float64"),
    "the same neuron twice": (make(neuron_ids=np.array([1, 1, 2])), "neuron_ids: 1 stands there 2"),
}  # fmt: skip


@pytest.mark.parametrize("arrays, message", REFUSED.values(), ids=REFUSED)
def test_arrays_that_are_no_recording_are_refused(write, arrays, message):
    with pytest.raises(RecordingError, match=message):
        read_arrays(write(**arrays))


def test_tiers_in_the_file_leave_nothing_to_choose(write):
    tier = np.where(make()["image_index"] < 4, "test", "train")
    with pytest.raises(
        RecordingError, match="tier: the file has tiers, so test_images has nothing"
    ):
        read_arrays(write(**make(tier=tier)), test_images=3)


@pytest.mark.parametrize("read", [read_arrays, describe_arrays])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="nowhere.npz: no such file"):
        read(tmp_path / "nowhere.npz")


@pytest.mark.parametrize(
    "name", [n for n, (_, message) in REFUSED.items() if "known" in message or "lacks" in message]
)
def test_a_description_refuses_the_wrong_arrays_as_reading_does(write, name):
    arrays, message = REFUSED[name]
    with pytest.raises(RecordingError, match=message):
        describe_arrays(write(**arrays))


@pytest.mark.parametrize(
    "arrays, message",
    [
        (make(responses=np.float32(1)), r"responses: shape \(\), expected \(trial, neuron\)"),
        (make(responses=np.ones(60)), r"responses: shape \(60,\), expected \(trial, neuron\)"),
        (
            {"images": make()["images"], "trials": np.ones((N, 3))},
            r"trials: shape \(24, 3\), expected \(image, repeat, neuron\)",
        ),
        (
            make(images=np.ones((N, 1, 1, 6, 8))),
            r"images: shape \(24, 1, 1, 6, 8\), expected \(n, height, width\) or \(n, channels",
        ),
    ],
)
def test_a_description_refuses_arrays_of_other_axes(write, arrays, message):
    with pytest.raises(RecordingError, match=message):
        describe_arrays(write(**arrays))


def test_a_description_does_not_guess_how_many_repeats_are_missing(write):
    report = describe_arrays(write(images=make()["images"], trials=trials()))
    assert (report.n_images, report.n_trials, report.n_neurons) == (N, None, 3)
    assert str(report) == (
        "scan7: 24 images of 1 x 6 x 8, ? trials (tiers to be chosen), 3 neurons"
    )


@pytest.mark.parametrize("kept", [0, 10, 0.3, 0.9])
def test_a_truncated_file_is_refused(write, kept):
    path = write(**make())
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(RecordingError, match="scan7.npz: cannot be read .* numpy.savez_compressed"):
        read_arrays(path)


def test_a_file_with_flipped_bits_is_refused_or_read_right(write):
    """Wherever the damage is; checksums do not cover dates and the like."""
    path = write(**make())
    content, whole = path.read_bytes(), read_arrays(path)
    for place in range(0, len(content), 11):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            recording = read_arrays(path)
        except RecordingError:
            continue
        np.testing.assert_array_equal(recording.responses, whole.responses)
        np.testing.assert_array_equal(recording.images, whole.images)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "scan.npz"
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "array.npy").rename(path)
    with pytest.raises(RecordingError, match="cannot be read as an .npz file"):
        read_arrays(path)
    path.write_text("hello")
    with pytest.raises(RecordingError, match="scan.npz: .*it is no archive of arrays") as caught:
        read_arrays(path)
    assert "pickle" not in str(caught.value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images", "text")
        archive.writestr("responses", "text")
    with pytest.raises(RecordingError, match="'(images|responses)' is not an array"):
        read_arrays(path)


def test_groups_and_degrees_come_back(write):
    groups = np.array(["bear", "car"] * (N // 2))
    path = write(**make(image_groups=groups, degrees=np.array(8)))
    recording = read_arrays(path)
    assert recording.image_groups.tolist() == groups.tolist() and recording.degrees == 8.0
    assert read_recording(path, degrees=4).degrees == 4.0
    said = str(describe_arrays(path))
    assert "2 groups of images" in said and "8 degrees wide" in said


def test_groups_may_be_called_otherwise(write):
    path = write(**make(object_name=np.arange(N) % 3))
    recording = read_recording(path, options={"image_groups": "object_name"})
    assert recording.image_groups.tolist() == [str(i % 3) for i in range(N)]


def test_merged_images_keep_the_group_of_the_first(write):
    given = make(image_groups=np.array(["bear", "car"] * (N // 2)))
    given["images"][1] = given["images"][0]
    recording, report = scan_recording(write(**given))
    assert recording.n_images == N - 1
    assert recording.image_groups[:3].tolist() == ["bear", "bear", "car"]
    assert any("1 images have the pixels of an image of another group" in n for n in report.notes)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"image_groups": np.array(["a"] * (N - 1))}, "image_groups: shape"),
        ({"image_groups": np.array(["a"] * (N - 1) + [""])}, "1 images are in none"),
        ({"image_groups": np.zeros(N)}, "expected .* names"),
        ({"degrees": np.array(0.0)}, "degrees: 0, expected"),
        ({"degrees": np.ones(2)}, "degrees: shape"),
    ],
)
def test_groups_and_degrees_that_cannot_be_are_refused(write, changes, said):
    with pytest.raises(RecordingError, match=said):
        read_arrays(write(**make(**changes)))
