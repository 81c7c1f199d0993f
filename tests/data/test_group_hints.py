from __future__ import annotations

from pathlib import Path

import pytest

from s2tf_edge.data.files import label_files
from s2tf_edge.data.group_hints import find_shared_groups
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.splits import split_by_group

CLASSES = ("jump", "run", "wave")


def sides(template: str, *, groups: tuple[str, ...] = ("1", "2", "3", "4", "5")) -> tuple[LabeledVideos, LabeledVideos]:
    """Of each group a take in each class is trained on, another one validated on."""
    train, validation = (
        label_files(
            "made", [(Path(template.format(c=c, g=g, t=take)), c) for c in CLASSES for g in groups], labels=CLASSES
        )
        for take in (1, 2)
    )
    return train, validation


@pytest.mark.parametrize(
    ("template", "shared"),
    [
        ("v_{c}_g{g}_c0{t}.avi", ("g1", "g2", "g3", "g4", "g5")),
        ("Film_{g}_{c}_f_nm_np1_fr_goo_{t}.avi", ("Film_1", "Film_2", "Film_3", "Film_4", "Film_5")),
        ("S00{t}C001P00{g}R001A001_rgb.avi", ("P001", "P002", "P003", "P004", "P005")),
        ("-aB_c{g}_00001{t}_000022.mp4", ("-aB_c1", "-aB_c2", "-aB_c3", "-aB_c4", "-aB_c5")),
        ("{c} of monday {g}-part{t}.mp4", None),
        ("person0{g}_{c}_d{t}.avi", ("person01", "person02", "person03", "person04", "person05")),
    ],
)
def test_groups_on_both_sides_are_found_by_their_names(template: str, shared: tuple[str, ...] | None) -> None:
    train, validation = sides(template)
    hint = find_shared_groups(train, validation)
    assert hint is not None
    assert shared is None or hint.shared == shared
    # The pattern is one that a split takes, and the split that it makes is clean.
    both = label_files(
        "made", [(Path(v.name), CLASSES[v.label]) for side in (train, validation) for v in side.videos], labels=CLASSES
    )
    assert find_shared_groups(*split_by_group(both, fraction=0.4, group_by=hint.pattern)) is None


@pytest.mark.parametrize("template", ["{c}_{g}{t}.mp4", "video_{g}{t}.mp4", "{g}{t}.mp4", "IMG_{g}{t}_x.mp4"])
def test_names_of_classes_and_cameras_are_no_groups(template: str) -> None:
    assert find_shared_groups(*sides(template)) is None


def test_groups_on_one_side_each_need_no_word() -> None:
    train, _ = sides("person0{g}_{c}_d{t}.avi", groups=("1", "2", "3"))
    _, validation = sides("person0{g}_{c}_d{t}.avi", groups=("4", "5"))
    assert find_shared_groups(train, validation) is None
