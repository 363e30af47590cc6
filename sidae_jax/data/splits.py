"""Splits and slices of them, as TFDS writes them: "train[:10%]+test"."""

from collections.abc import Mapping

from sidae_jax.errors import UserError, nearest

_TEST_OTHERWISE = ("validation", "val", "valid")  # what "test" stands for in a data set without a split of this name


def named(split: str) -> list[str]:
    """Returns the names in a spec such as "train[:10%]+test", before "test" is looked up."""
    return [part.split("[")[0].strip() for part in split.split("+")]


def actual(name: str, counts: Mapping[str, int]) -> str:
    """Returns the split that a name stands for: itself, or the validation split for "test" where there is none."""
    if name == "test" and name not in counts:
        return next((other for other in _TEST_OTHERWISE if other in counts), name)
    return name


def parse(split: str, counts: Mapping[str, int], dataset: str) -> list[tuple[str, int, int]]:
    """Returns the non-empty (split name, start, stop) that TFDS parses a slice such as "train[:10%]+test" into.

    Args:
      split: see https://www.tensorflow.org/datasets/splits.
      counts: the number of images of each split.
      dataset: what the data set is called in messages, such as "dataset 'digits'".

    Raises:
      UserError: an unknown split, an empty slice, or no slice at all.
    """
    import tensorflow_datasets as tfds

    known = f"({', '.join(f'{name}: {count} images' for name, count in counts.items())})"
    wanted = "give --config.train_split or --config.test_split one of these, or a slice such as 'train[:10%]'"
    infos = {name: tfds.core.SplitInfo(name=name, shard_lengths=[count], num_bytes=0) for name, count in counts.items()}
    infos |= {name: infos[actual(name, counts)] for name in named(split) if actual(name, counts) in counts}
    try:
        absolute = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
    # TFDS raises any of these for a bad slice.
    except (ValueError, TypeError, NotImplementedError, AssertionError, KeyError) as error:
        if unknown := [name for name in named(split) if name not in infos]:
            near = nearest(unknown[0], counts)
            hint = f"; did you mean {near}?" if near else ""
            raise UserError(f"{dataset} has no split {unknown[0]!r} {known}: {wanted}{hint}") from error
        reason = str(error).strip().splitlines()[-1].rstrip(".")
        raise UserError(f"split {split!r} of {dataset} {known} cannot be read ({reason}): {wanted}") from error
    slices = []
    for part in absolute:
        name = actual(str(part.splitname), counts)
        start, stop, _ = slice(part.from_, part.to).indices(counts[name])
        if start < stop:
            slices.append((name, start, stop))
    if not slices:
        raise UserError(f"split {split!r} of {dataset} holds no image {known}: {wanted}")
    return slices
