from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from predictive_model.parts import Origin, PartError, Registry
from tests.installed_package import installed_package

TOYS = Registry("toy", {"ours": "predictive_model.files:write_whole"})
CODE = """
from functools import partial

def car(wheels):
    return wheels

bike = partial(car, 2)
number = 7
"""
OFFERS = {"neuroteach.toys": "their_car = mylab_toys:car\nours = mylab_toys:bike"}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    with installed_package(tmp_path, "mylab_toys", CODE, OFFERS) as file:
        yield file


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def test_ours_is_found_without_looking_at_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError("entry points were looked at")

    monkeypatch.setattr(importlib.metadata, "entry_points", refuse)
    from predictive_model.files import write_whole

    part = TOYS.find("ours")
    assert part.value is write_whole
    assert part.origin.distribution == "neuroteach"
    assert part.origin.digest == digest(Path(write_whole.__code__.co_filename))


def test_a_part_of_an_installed_package_says_whose_it_is(file: Path) -> None:
    part = TOYS.find("their_car")
    assert part.value(4) == 4
    assert part.origin == Origin("mylab-toys", "1.2", digest(file))
    assert str(part.origin) == "mylab-toys 1.2"


def test_a_package_cannot_take_the_name_of_a_part_of_ours(file: Path) -> None:
    assert TOYS.find("ours").origin.distribution == "neuroteach"
    assert TOYS.names() == ("ours", "their_car")


@pytest.mark.parametrize("name", ["mylab_toys:car", "mylab_toys:bike", "mylab_toys:number"])
def test_a_reference_into_an_installed_package_finds_its_owner(file: Path, name: str) -> None:
    assert TOYS.find(name).origin == Origin("mylab-toys", "1.2", digest(file))


LENT = """
from functools import partial

import mylab_toys
from mylab_toys import car

van = partial(car, {wheels})
"""


@pytest.mark.parametrize("name", ["our_van", "lent_toys:van", "lent_toys:car"])
def test_what_is_made_of_anothers_code_is_known_by_the_file_that_makes_it(
    file: Path, tmp_path: Path, name: str
) -> None:
    """Arguments of a partial are in the file that has it, and so is which object is taken over."""
    folder = tmp_path / "second"
    folder.mkdir()
    found, offers = [], {"neuroteach.toys": "our_van = lent_toys:van"}
    for version, wheels in enumerate((4, 6)):
        code = LENT.format(wheels=wheels)
        inner = folder / str(version)
        inner.mkdir()
        with installed_package(inner, "lent_toys", code, offers) as lent:
            found.append(TOYS.find(name).origin)
            assert found[-1] == Origin("lent-toys", "1.2", digest(lent))
    assert found[0].digest != found[1].digest


def test_what_a_package_passes_on_within_itself_is_known_by_the_file_that_defines_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "toybox"
    package.mkdir()
    (package / "__init__.py").write_text("from toybox.cars import car")
    (package / "cars.py").write_text("def car():\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert TOYS.find("toybox:car").origin.digest == digest(package / "cars.py")


def test_a_module_of_no_package_is_known_by_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loose = tmp_path / "loose_toys.py"
    loose.write_text("def boat():\n    return 'sails'\n")
    monkeypatch.syspath_prepend(tmp_path)
    part = TOYS.find("loose_toys:boat")
    assert part.value() == "sails"
    assert part.origin == Origin("", "", digest(loose))
    assert str(part.origin) == "a module of no package"


def test_a_package_of_the_same_name_elsewhere_is_no_owner(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "checkout"
    other.mkdir()
    (other / "mylab_toys.py").write_text("def car():\n    pass\n")
    monkeypatch.syspath_prepend(other)  # it hides the installed one
    assert TOYS.find("mylab_toys:car").origin == Origin("", "", digest(other / "mylab_toys.py"))


def test_an_editable_install_owns_what_is_in_its_folder(file: Path, tmp_path: Path) -> None:
    information = tmp_path / "mylab_toys-1.2.dist-info"
    (information / "top_level.txt").write_text("mylab_toys\n")
    (information / "RECORD").write_text("")
    (information / "direct_url.json").write_text(
        f'{{"url": "{tmp_path.as_uri()}", "dir_info": {{"editable": true}}}}'
    )
    assert TOYS.find("mylab_toys:car").origin.distribution == "mylab-toys"


def test_what_is_installed_is_looked_through_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, entry_points = [], importlib.metadata.entry_points

    def counted(**selected: str) -> object:
        looked.append(selected)
        return entry_points(**selected)

    monkeypatch.setattr(importlib.metadata, "entry_points", counted)
    for _ in range(3):
        TOYS.find("their_car")
        with pytest.raises(PartError):
            TOYS.require("gone")
    assert looked == [{"group": "neuroteach.toys"}]


def test_looking_for_a_part_imports_nothing(file: Path) -> None:
    assert TOYS.require("their_car").distribution == "mylab-toys"
    assert "mylab_toys" not in sys.modules


def test_a_missing_part_says_what_there_is_and_what_to_install(file: Path) -> None:
    recorded = Origin("mylab-nets", "1.3", "0" * 16)
    message = (
        "toy 'mylab_boat': no part of this name is installed; expected one of ours, their_car, or "
        "module:function; install the package that it comes from (mylab-nets 1.3)"
    )
    for look in (TOYS.find, TOYS.require):
        with pytest.raises(PartError) as caught:
            look("mylab_boat", recorded)
        assert str(caught.value) == message
    with pytest.raises(PartError, match="that it comes from$"):
        TOYS.find("mylab_boat", Origin("", "", "0" * 16))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.toys:car", "there is no module nowhere; .*PYTHONPATH"),
        ("mylab_toys:boat", "module mylab_toys has no boat"),
        ("mylab_toys.cars:car", "there is no module mylab_toys.cars|not a package"),
        ("mylab_broken:car", r"importing mylab_broken failed \(ZeroDivisionError: "),
        ("mylab_needy:car", r"importing mylab_needy failed \(ModuleNotFoundError: .*absent_one"),
    ],
)
def test_what_cannot_be_imported_is_one_clear_error(file: Path, name: str, message: str) -> None:
    file.with_name("mylab_broken.py").write_text("1 / 0")
    file.with_name("mylab_needy.py").write_text("import absent_one")
    with pytest.raises(PartError, match=f"^toy '{name}': .*({message})"):
        TOYS.find(name)


def test_two_packages_that_offer_one_name_are_both_named(file: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    with (
        installed_package(
            second, "other_toys", CODE, {"neuroteach.toys": "their_car=other_toys:car"}
        ),
        pytest.raises(PartError, match="their_car': offered by mylab-toys and other-toys; .*:car"),
    ):
        TOYS.find("their_car")


@pytest.mark.parametrize("name", ["", "a b", "a:", ":f", "a.b:c d", "1.2:f", "../x"])
def test_what_can_be_no_name_is_refused_before_it_is_looked_up(name: str) -> None:
    with pytest.raises(ValueError, match="expected one of ours, the name of an installed one"):
        TOYS.check_name(name)


@pytest.mark.parametrize("name", ["ours", "mylab-net.v2", "a.b_c:D.e"])
def test_what_may_be_a_name_is_one_whether_it_is_installed_or_not(name: str) -> None:
    assert TOYS.check_name(name) == name


def test_settings_and_names_of_all_parts_import_no_torch() -> None:
    modules = (
        "predictive_model.parts",
        "predictive_model.importers",
        "regularized_training.training_config",
        "regularized_training.networks.compared",
        "regularized_training.teachers.config",
    )
    script = (
        "import sys, importlib\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "from regularized_training.networks.compared import compared_layers\n"
        "compared_layers('vgg16', ('features.6',))\n"
        "from regularized_training.networks.calls import require_network\n"
        "from regularized_training.networks.config import NetworkConfig\n"
        "require_network(NetworkConfig(width=8))\n"
        "print(sorted({'torch', 'timm', 'pynwb'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *modules],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
