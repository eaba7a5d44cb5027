"""Which files of a folder or archive are labelled images, and what is passed over."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from predictive_model.importers.archives import ARCHIVE_ENDINGS, LISTS, is_litter, note
from predictive_model.importers.decoding import SUFFIXES
from predictive_model.text import decoded
from regularized_training.tasks.labelled_task import TaskError

ANNOTATIONS = "val_annotations.txt"  # of Tiny ImageNet
SUPERCLASSES = "superclasses.json"
SPLIT_FOLDERS = ("train", "test", "val")  # `val` is read as the test images where `test` is missing

Parts = tuple[str, ...]
T = TypeVar("T")


def parts_of(name: str) -> Parts:
    """Folders and name of a file, wherever the archive that it is from would put it."""
    return tuple(part for part in name.split("/") if part not in ("", ".", ".."))


def split_of(parts: Parts) -> int:
    """Which part is a split, as in ``above/train/CLASS/FILE``; none if no class and file follow."""
    at = next((i for i, part in enumerate(parts) if part in SPLIT_FOLDERS), len(parts))
    return at if len(parts) >= at + 3 else len(parts)


class LabelledFiles:
    """Chooses ``{train,test}/CLASS/FILE`` and lists of classes, and counts what is left out.

    Attributes
    ----------
    passed_over : dict
        Names of files that may have been meant, by why they are passed over.
    """

    def __init__(self) -> None:
        self.passed_over: dict[str, list[str]] = {}
        self._classes: set[Parts] = set()  # folders of classes, with their splits
        self._with_images: set[Parts] = set()

    def __call__(self, name: str) -> bool:
        """Whether to read a file; it is called with every name once."""
        parts = parts_of(name)
        if not parts or is_litter(name):
            return False
        hidden = any(part.startswith(".") for part in parts)
        if name.endswith("/"):
            at = split_of((*parts, ""))
            if at < len(parts) and not hidden:
                self._classes.add(parts[at : at + 2])
            return False
        if parts[-1] in (ANNOTATIONS, SUPERCLASSES):
            return not hidden
        if hidden and parts[-1].endswith(".icloud"):
            raise TaskError(f"{name}: is in iCloud and not on this disk; download it in the Finder")
        at, ending = split_of(parts), f".{parts[-1].rpartition('.')[2].lower()}"
        if ending in SUFFIXES:
            if not hidden and at < len(parts):
                self._with_images.add(parts[at : at + 2])
                return True
            self._pass_over("hidden" if hidden else "outside {train,test}/CLASS", name)
        elif hidden or ending in LISTS:
            return False
        elif ending in ARCHIVE_ENDINGS:
            self._pass_over("archives within, to be unpacked", name)
        elif any(part in SPLIT_FOLDERS for part in parts[:-1]):
            self._pass_over("no pictures by their names", name)
        return False

    def leave_out(self, split: str, why: str, names: Collection[str]) -> None:
        """Count images that were read and are not used."""
        self.passed_over[f"of {split}, {why}"] = sorted(names)

    def warn(self, path: Path) -> None:
        """Warn of files that were passed over, by count and first example, and of empty classes."""
        said = [
            f"{len(names)} ({why}), such as {printable(names[0])}"
            for why, names in self.passed_over.items()
        ]
        if said:
            note(f"{path}: files that were passed over: {'; '.join(said)}")
        if empty := sorted("/".join(c) for c in self._classes - self._with_images):
            note(
                f"{path}: {len(empty)} folders of classes hold no picture, such as "
                f"{printable(empty[0])}"
            )

    def instead(self) -> str:
        """What was found where no labelled image was, for errors."""
        found = [f"{printable(names[0])} ({why})" for why, names in self.passed_over.items()]
        return f"; found {'; '.join(found)}" if found else ""

    def _pass_over(self, why: str, name: str) -> None:
        self.passed_over.setdefault(why, []).append(name)


@dataclass(frozen=True)
class Arranged(Generic[T]):
    """Images in the order of their classes and paths, and the class of each.

    Attributes
    ----------
    classes : tuple of str
    train, test : list
    train_labels, test_labels : (n,) int64
    test_split : str
        The folder that `test` is from.
    """

    classes: tuple[str, ...]
    train: list[T]
    train_labels: NDArray[np.int64]
    test: list[T]
    test_labels: NDArray[np.int64]
    test_split: str


def arrange(
    path: Path,
    choice: LabelledFiles,
    found: Mapping[str, Mapping[Parts, T]],
    tops: Collection[Parts],
    class_of: Mapping[str, str],
    *,
    test_only: bool = False,
) -> Arranged[T]:
    """What was found below ``{train,test,val}/CLASS``, as training and test images.

    Parameters
    ----------
    path : Path
        Of the folder or archive, for messages.
    choice : LabelledFiles
        What chose them; it warns of what is left out.
    found : mapping
        Of each split, what was found by its path below it.
    tops : collection
        Folders above the splits.
    class_of : mapping of str to str
        Classes of the images in ``val`` by their names, where a list says so.
    test_only : bool
        Whether training images are neither needed nor taken.

    Raises
    ------
    TaskError
        If a split is missing, there are several, or the classes of the splits differ.
    """
    splits = dict(found)
    listed = bool(class_of) and "val" in splits
    if listed:
        splits["val"] = {
            (class_of.get(composed(below[-1]), below[0]), *below): item
            for below, item in splits["val"].items()
        }
    test = "val" if listed or "test" not in splits else "test"
    read = (test,) if test_only else ("train", test)
    for split in read:
        if split not in splits:
            expected = "expected train and test, or the option --test-only"
            if test_only or split == test:
                expected = "expected test or val" if test_only else "expected train and test"
            raise TaskError(
                f"{path}: no images below {split}/<class>/, {expected}{choice.instead()}"
            )
    if len(tops) > 1:
        places = ", ".join(sorted("/".join(top) or "." for top in tops))
        raise TaskError(f"{path}: several train or test folders, in {places}; expected one set")
    names = {
        split: {
            folder: class_name(folder, path) for folder in {below[0] for below in splits[split]}
        }
        for split in read
    }
    classes = tuple(sorted(set(names[read[0]].values())))
    check_same_classes(path, classes, names[test].values(), test)
    for split in sorted(splits.keys() - {"train", test}):
        choice.leave_out(split, f"as {test} is read", ["/".join(n) for n in splits[split]])
    choice.warn(path)
    train, train_labels = _in_order(
        {} if test_only else splits["train"], names.get("train", {}), classes
    )
    tested, test_labels = _in_order(splits[test], names[test], classes)
    return Arranged(classes, train, train_labels, tested, test_labels, test)


def _in_order(
    items: Mapping[Parts, T], class_of_folder: Mapping[str, str], classes: Sequence[str]
) -> tuple[list[T], NDArray[np.int64]]:
    """Items in the order of their paths, and the class of each."""
    index = {name: i for i, name in enumerate(classes)}
    # By the classes' names first, as one may have several folders.
    order = sorted(items, key=lambda below: (class_of_folder[below[0]], *below[1:], below[0]))
    labels = np.array([index[class_of_folder[below[0]]] for below in order], np.int64)
    return [items[below] for below in order], labels


def annotated(data: bytes, file: Path) -> dict[str, str]:
    """Class of each image, from lines of a file's name, its class, and a box.

    Raises
    ------
    TaskError
        If it holds other lines.
    """
    try:
        lines = [line.split("\t") for line in decoded(data).splitlines() if line.strip()]
        return {composed(fields[0]): fields[1] for fields in lines}
    except (ValueError, IndexError) as error:
        raise TaskError(
            f"{file}: expected lines of an image's name, a tab and its class ({error})"
        ) from error


def class_name(folder: str, path: Path) -> str:
    """A class by the name of its folder, in the composed form (NFC) of Unicode.

    macOS writes names decomposed, so that one class would else be two.

    Raises
    ------
    TaskError
        If the name is not UTF-8.
    """
    try:
        folder.encode()
    except UnicodeEncodeError as error:
        content = folder.encode("utf-8", "surrogateescape")
        raise TaskError(
            f"{path}: the class {printable(folder)} has a name that is not UTF-8 (Latin-1 reads it "
            f"as {content.decode('latin-1')!r}); rename its folders in train and test, such as by "
            "`convmv -f latin1 -t utf8 -r --notest`"
        ) from error
    return composed(folder)


def composed(name: str) -> str:
    """A name in the composed form (NFC) of Unicode."""
    return unicodedata.normalize("NFC", name)


def check_same_classes(
    path: Path, train: Collection[str], test: Collection[str], split: str
) -> None:
    """Refuse classes that are in one split only.

    Raises
    ------
    TaskError
        Names one of them, and says if it is there in other letters.
    """
    missing = sorted(set(train) ^ set(test))
    if not missing:
        return
    folded = Counter(unicodedata.normalize("NFKC", name).casefold() for name in missing)
    twice = [n for n in missing if folded[unicodedata.normalize("NFKC", n).casefold()] > 1]
    hint = f"; {twice[0]!r} is there in capital or other letters too" if twice else ""
    raise TaskError(
        f"{path}: {len(missing)} classes, such as {missing[0]!r}, are only in one of train "
        f"and {split}; expected the same classes in both{hint}"
    )


def printable(name: str) -> str:
    """A name for messages, bytes that are not UTF-8 as escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
