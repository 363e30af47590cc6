"""How the files of a folder are found, put in order, and put into splits and classes."""

import inspect
import os
import sys

import pytest

from sidae_jax.data.folder_files import ImageFile, arrange, find, unclear_splits


def tree(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def layout(root, test_share=0.0):
    """{split: {file: class name, or None}} and the files with problems."""
    found = arrange(find(root), test_share)
    splits = {
        name: {
            file.name: found.class_names[label] if label >= 0 else None
            for file, label in zip(*split, strict=True)
            if not file.problem
        }
        for name, split in found.splits.items()
    }
    problems = {file.name: file.problem for split in found.splits.values() for file in split.files if file.problem}
    return splits, problems


def test_the_order_is_that_of_the_bytes_of_the_names_and_hidden_files_are_ignored(tmp_path):
    names = ["b.png", "a/z.png", "a.png", "a/B.png", "Z/1.png", "ä.png", "a-1.png", "a/b/c.png"]
    tree(tmp_path, *names, ".hidden.png", ".thumbs/1.png", "a/.DS_Store")
    files = find(tmp_path)
    assert [file.name for file in files] == sorted(names, key=lambda name: name.encode())
    assert [file.size for file in files] == [len(file.name.encode()) for file in files]
    assert all(file.mtime_ns == os.stat(tmp_path / file.name).st_mtime_ns for file in files)


def test_names_that_are_not_unicode(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
    assert [os.fsencode(file.name) for file in find(tmp_path)] == [b"caf\xe9.png"]


def test_folders_may_be_nested_deeper_than_calls_of_python(tmp_path):
    os.makedirs(tmp_path / ("a/" * 150))
    (tmp_path / ("a/" * 150) / "1.png").touch()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        assert [file.name for file in find(tmp_path)] == ["a/" * 150 + "1.png"]
    finally:
        sys.setrecursionlimit(limit)


def test_folders_are_classes(tmp_path):
    tree(tmp_path, "cat/1.png", "dog/1.png", "cat/old/2.png", "Emu/3.png", "notes.txt")
    splits, problems = layout(tmp_path)
    assert splits == {"train": {"Emu/3.png": "Emu", "cat/1.png": "cat", "cat/old/2.png": "cat", "dog/1.png": "dog"}}
    assert problems == {"notes.txt": "lies beside the folders of the classes and not in one"}
    assert arrange(find(tmp_path), 0.0).class_names == ("Emu", "cat", "dog")


def test_a_flat_folder_has_no_classes(tmp_path):
    tree(tmp_path, "1.png", "2.png")
    assert layout(tmp_path) == ({"train": {"1.png": None, "2.png": None}}, {})


@pytest.mark.parametrize("test", ["test", "val", "valid", "validation"])
def test_folders_of_splits_share_their_classes(tmp_path, test):
    tree(tmp_path, "train/cat/1.png", "train/dog/1.png", f"{test}/ant/1.png", f"{test}/dog/2.png", "LICENSE")
    splits, problems = layout(tmp_path, test_share=0.9)
    assert splits == {
        "train": {"train/cat/1.png": "cat", "train/dog/1.png": "dog"},
        test: {f"{test}/ant/1.png": "ant", f"{test}/dog/2.png": "dog"},
    }
    assert not problems
    assert arrange(find(tmp_path), 0.9).class_names == ("ant", "cat", "dog")


def test_flat_splits_and_a_class_named_train(tmp_path):
    tree(tmp_path / "flat", "train/1.png", "test/2.png")
    assert layout(tmp_path / "flat") == ({"train": {"train/1.png": None}, "test": {"test/2.png": None}}, {})
    tree(tmp_path / "vehicles", "train/1.png", "bus/2.png")
    assert layout(tmp_path / "vehicles")[0] == {"train": {"bus/2.png": "bus", "train/1.png": "train"}}


@pytest.mark.parametrize(
    ("tops", "unclear"),
    [
        (["train", "test", "extra"], ["extra", "test", "train"]),
        (["Train", "Test"], ["Test", "Train"]),
        (["training", "val"], ["training", "val"]),
        (["train", "valid", "test"], []),
        (["train", "bus"], []),
        (["cat", "dog"], []),
        (["train"], []),
    ],
)
def test_splits_beside_other_folders_are_unclear(tmp_path, tops, unclear):
    assert unclear_splits(find(tree(tmp_path, *(f"{top}/cat/1.png" for top in tops), "notes.txt"))) == unclear


@pytest.mark.parametrize("above", ["", "train/"])
def test_a_share_is_held_out_and_stays_when_files_are_added(tmp_path, above):
    tree(tmp_path, *(f"{above}{number % 3}/{number}.png" for number in range(1000)))
    before, _ = layout(tmp_path, 0.2)
    assert 140 < len(before["test"]) < 260  # of a binomial with deviation 13
    assert len({name.split("/")[-2] for name in before["test"]}) == 3
    assert not before["train"].keys() & before["test"].keys()
    tree(tmp_path, *(f"{above}{number % 3}/{number}.png" for number in range(1000, 1500)))
    after, _ = layout(tmp_path, 0.2)
    for split in ("train", "test"):
        assert before[split].items() <= after[split].items()
    more, _ = layout(tmp_path, 0.4)
    assert after["test"].items() <= more["test"].items()
    assert list(layout(tmp_path, 0.0)[0]) == ["train"]


def test_the_membership_is_the_same_everywhere():
    """Fixed values: another hash would move images between the splits of everyone's folders."""
    files = [ImageFile(f"cat/{number}.jpg", 1, 1) for number in range(20)]
    held_out = arrange(files, 0.25).splits["test"].files
    assert [file.name for file in held_out] == ["cat/3.jpg", "cat/8.jpg", "cat/13.jpg"]


def test_links_stay_in_the_folder(tmp_path):
    root = tree(tmp_path / "root", "cat/1.png", "dog/2.png")
    tree(tmp_path, "outside/3.png", "root2/4.png")
    (root / "cat/same.png").symlink_to(root / "dog/2.png")
    (root / "cat/out.png").symlink_to(tmp_path / "outside/3.png")
    (root / "cat/sibling.png").symlink_to(tmp_path / "root2/4.png")
    (root / "cat/nothing.png").symlink_to(root / "nothing.png")
    (root / "cat/folder").symlink_to(root / "dog")
    (root / "cat/loop").symlink_to(root)
    (root / "emu").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "cat/pipe")
    splits, problems = layout(root)
    assert splits == {"train": {"cat/1.png": "cat", "cat/same.png": "cat", "dog/2.png": "dog"}}
    assert problems == {
        "cat/out.png": "is a link out of the folder",
        "cat/sibling.png": "is a link out of the folder",
        "cat/nothing.png": "is a link to nothing",
        "cat/folder": "is a link to a folder",
        "cat/loop": "is a link to a folder",
        "cat/pipe": "is neither a file nor a folder",
        "emu": "is a link out of the folder",
    }
    (tmp_path / "link").symlink_to(root)
    assert layout(tmp_path / "link") == (splits, problems)  # the folder itself may be reached by a link
