"""The order of the images, for any number of images, devices and processes: each image once an epoch."""

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sidae_jax import mesh
from sidae_jax.training.input_pipeline import batch_order, epoch_order, in_parts


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    processes=st.integers(1, 4),
    devices=st.integers(1, 4),
    accumulate=st.integers(1, 3),
    of_a_device=st.integers(1, 3),
    whole=st.integers(1, 4),
    left_over=st.integers(0, 40),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 10**6),
)
def test_each_image_comes_once_an_epoch(processes, devices, accumulate, of_a_device, whole, left_over, seed, epoch):
    size = processes * devices * accumulate * of_a_device
    num_images = whole * size + left_over % size
    order = batch_order(num_images, size, seed)
    batches = epoch_order(order, whole, epoch)
    assert batches.shape == (whole, size)
    rows = batches.ravel()
    assert len(set(rows.tolist())) == len(rows)  # those that do not fill a batch are left out
    assert rows.min() >= 0
    assert rows.max() < num_images

    arranged = epoch_order(in_parts(order, accumulate, processes * devices), whole, epoch)
    for batch, own in zip(batches, arranged, strict=True):
        seen = []
        for process in range(processes):
            part = own[_rows(size, processes, process)]
            assert len(part) == size // processes
            seen.append(part.reshape(devices, accumulate, of_a_device))
        # of each part of the batch, all devices of all processes together have its rows, in their order
        by_part = np.concatenate(seen).swapaxes(0, 1).reshape(accumulate, -1)
        np.testing.assert_array_equal(by_part.ravel(), batch)


def _rows(size, processes, process):
    count, index = jax.process_count, jax.process_index
    try:
        jax.process_count, jax.process_index = lambda: processes, lambda: process
        return mesh.process_rows(size)
    finally:
        jax.process_count, jax.process_index = count, index


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(40, 200), st.integers(0, 2**32 - 1), st.integers(0, 1000))
def test_another_epoch_and_another_seed_have_another_order(num_images, seed, epoch):
    order = epoch_order(batch_order(num_images, 20, seed), num_images // 20, epoch)
    assert (order != epoch_order(batch_order(num_images, 20, seed), num_images // 20, epoch + 1)).any()
    assert (order != epoch_order(batch_order(num_images, 20, (seed + 1) % 2**32), num_images // 20, epoch)).any()
