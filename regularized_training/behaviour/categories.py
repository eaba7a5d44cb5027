"""The 16 categories of Geirhos et al. 2018, and which classes of networks mean them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from regularized_training.tasks.evaluation_set import OutputMeaning

CATEGORIES = (
    *("airplane", "bear", "bicycle", "bird", "boat", "bottle", "car", "cat"),
    *("chair", "clock", "dog", "elephant", "keyboard", "knife", "oven", "truck"),
)
IMAGENET_CLASSES = 1000
# As CIFAR-10 calls them; its other three classes, deer, frog and horse, mean none.
_OTHER_NAMES = {"boat": ("ship",), "car": ("automobile",)}

# WordNet ids of ImageNet's 1,000 classes that are of a category: 207, as published. The images that
# people saw are of these, but for trucks, who saw three kinds of the eight.
_SYNSETS = {
    "airplane": "n02690373",
    "bear": "n02132136 n02133161 n02134084 n02134418",
    "bicycle": "n02835271 n03792782",
    "bird": """
        n01514859 n01530575 n01531178 n01532829 n01534433 n01537544 n01558993 n01560419
        n01582220 n01592084 n01601694 n01614925 n01616318 n01622779 n01795545 n01796340
        n01797886 n01798484 n01817953 n01818515 n01819313 n01820546 n01824575 n01828970
        n01829413 n01833805 n01843065 n01843383 n01855032 n01855672 n01860187 n02002556
        n02002724 n02006656 n02007558 n02009229 n02009912 n02011460 n02013706 n02017213
        n02018207 n02018795 n02025239 n02027492 n02028035 n02033041 n02037110 n02051845
        n02056570
    """,
    "boat": "n02951358 n03344393 n03662601 n04273569 n04612504",
    "bottle": "n02823428 n03937543 n03983396 n04557648 n04560804 n04579145 n04591713",
    "car": "n02814533 n03100240 n04285008",
    "cat": "n02123045 n02123159 n02123394 n02123597 n02124075 n02125311",
    "chair": "n02791124 n03376595 n04099969 n04429376",
    "clock": "n02708093 n03196217 n04548280",
    "dog": """
        n02085782 n02085936 n02086079 n02086240 n02086646 n02086910 n02087046 n02087394
        n02088094 n02088238 n02088364 n02088466 n02088632 n02089078 n02089867 n02089973
        n02090379 n02090622 n02090721 n02091032 n02091134 n02091244 n02091467 n02091635
        n02091831 n02092002 n02092339 n02093256 n02093428 n02093647 n02093754 n02093859
        n02093991 n02094114 n02094258 n02094433 n02095314 n02095570 n02095889 n02096051
        n02096294 n02096437 n02096585 n02097047 n02097130 n02097209 n02097298 n02097474
        n02097658 n02098105 n02098286 n02099267 n02099429 n02099601 n02099712 n02099849
        n02100236 n02100583 n02100735 n02100877 n02101006 n02101388 n02101556 n02102040
        n02102177 n02102318 n02102480 n02102973 n02104029 n02104365 n02105056 n02105162
        n02105251 n02105505 n02105641 n02105855 n02106030 n02106166 n02106382 n02106550
        n02106662 n02107142 n02107312 n02107574 n02107683 n02107908 n02108000 n02108422
        n02108551 n02108915 n02109047 n02109525 n02109961 n02110063 n02110185 n02110627
        n02110806 n02110958 n02111129 n02111277 n02111500 n02112018 n02112350 n02112706
        n02113023 n02113624 n02113712 n02113799 n02113978
    """,
    "elephant": "n02504013 n02504458",
    "keyboard": "n03085013 n04505470",
    "knife": "n03041632",
    "oven": "n04111531",
    "truck": "n03345487 n03417042 n03770679 n03796401 n03930630 n03977966 n04461696 n04467665",
}
# Their places among the 1,000, which stand in the order of their WordNet ids.
_PLACES = {
    "airplane": "404",
    "bear": "294-297",
    "bicycle": "444 671",
    "bird": "8 10-16 18-20 22-24 80-83 87-96 98-100 127-133 135-145",
    "boat": "472 554 625 814 914",
    "bottle": "440 720 737 898-899 901 907",
    "car": "436 511 817",
    "cat": "281-286",
    "chair": "423 559 765 857",
    "clock": "409 530 892",
    "dog": "152-191 193-203 205-226 228-241 243-250 252-257 259 261-263 265-268",
    "elephant": "385-386",
    "keyboard": "508 878",
    "knife": "499",
    "oven": "766",
    "truck": "555 569 656 675 717 734 864 867",
}


@cache
def synsets() -> Mapping[str, tuple[str, ...]]:
    """WordNet ids of ImageNet's classes that mean each category.

    Examples
    --------
    >>> synsets()["elephant"]
    ('n02504013', 'n02504458')
    """
    return {name: tuple(_SYNSETS[name].split()) for name in CATEGORIES}


@cache
def imagenet_classes() -> Mapping[str, tuple[int, ...]]:
    """The same by their places among the outputs of a network of 1,000 classes, from 0.

    Examples
    --------
    >>> imagenet_classes()["bear"]
    (294, 295, 296, 297)
    """
    found = {}
    for name in CATEGORIES:
        ends = [list(map(int, run.split("-"))) for run in _PLACES[name].split()]
        found[name] = tuple(i for run in ends for i in range(run[0], run[-1] + 1))
    return found


def imagenet_meaning(n_outputs: int = IMAGENET_CLASSES) -> OutputMeaning:
    """What the outputs of a network of ImageNet's classes mean: the mapping of Geirhos et al. 2018.

    The probability of a category is the mean of the probabilities of its classes, after a softmax
    over all of them.

    Parameters
    ----------
    n_outputs : int
        1,000, in the usual order, or 1,001 with a background before them.

    Raises
    ------
    ValueError
        If it is another number.

    Examples
    --------
    >>> import torch
    >>> logits = torch.zeros(1, 1000)
    >>> logits[0, 404] = 9  # airliner
    >>> CATEGORIES[int(imagenet_meaning().answers(logits))]
    'airplane'
    """
    first = n_outputs - IMAGENET_CLASSES
    if first not in (0, 1):
        raise ValueError(
            f"n_outputs: {n_outputs}, expected 1000 of ImageNet, or 1001 with a background; for a "
            "network of other classes use outputs_among() with their names"
        )
    index = np.full(n_outputs, -1, np.int64)
    for i, name in enumerate(CATEGORIES):
        index[first + np.array(imagenet_classes()[name])] = i
    return OutputMeaning(CATEGORIES, index)


def outputs_among(classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Categories that classes mean by their names, each with those classes.

    What :class:`~regularized_training.tasks.evaluation_set.EvaluationSet` takes as its `outputs`.

    Parameters
    ----------
    classes : sequence of str
        WordNet ids, as of ImageNet and Tiny ImageNet, or names, as of CIFAR-10.

    Raises
    ------
    ValueError
        If fewer than two categories are among them.

    Examples
    --------
    >>> outputs_among(["automobile", "cat", "deer", "ship"])
    {'boat': ('ship',), 'car': ('automobile',), 'cat': ('cat',)}
    """
    found = {}
    for name in CATEGORIES:
        means = {name, *_OTHER_NAMES.get(name, ()), *synsets()[name]}
        if among := tuple(one for one in classes if one in means):
            found[name] = among
    if len(found) < 2:
        raise ValueError(
            f"classes: {len(classes)} such as {list(classes)[:3]}, of which {len(found)} mean one "
            "of the 16 categories; expected WordNet ids or names such as 'cat' and 'truck'"
        )
    return found
