"""Which input is chosen, and the calls into which steps are gathered."""

import os

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from sidae_jax import config, mesh, processes
from sidae_jax.data import Images
from sidae_jax.training import input_pipeline


def images(count):
    """So many black images, which take no memory."""
    return Images(np.broadcast_to(np.uint8(0), (count, 32, 32, 3)), np.broadcast_to(np.int32(0), count), ("0",))


SMALL, LARGE = images(40), images(10**9)  # three terabytes


@pytest.fixture
def everything():
    return Mesh(np.array(jax.devices()), (mesh.AXIS,))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="CPU devices share the machine's memory")
def test_a_copy_for_each_device_may_take_a_quarter_of_its_memory(everything):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    quarter = memory // 4 // everything.size // (32 * 32 * 3)
    assert input_pipeline.fits_resident(images(quarter), everything)
    assert not input_pipeline.fits_resident(images(quarter + 2), everything)


def test_images_that_do_not_fit_in_one_process_are_streamed_in_all(everything, monkeypatch):
    monkeypatch.setattr(processes, "gather", lambda value: [value, False])
    assert not input_pipeline.fits_resident(SMALL, everything)


def test_the_input_is_resident_where_the_images_fit_and_otherwise_as_asked_for(everything):
    def resident(images, **changes):
        return input_pipeline.input_is_resident(config.pretraining("simsiam", "digits", **changes), images, everything)

    assert config.pretraining("simsiam", "digits").input == "auto"
    assert [resident(SMALL), resident(LARGE)] == [True, False]
    assert [resident(each, input="resident") for each in (SMALL, LARGE)] == [True, True]
    assert [resident(each, input="stream") for each in (SMALL, LARGE)] == [False, False]
    assert resident(LARGE, num_seeds=2)  # several seeds have no stream


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other devices do one step per call")
@pytest.mark.parametrize(
    ("start", "end", "log_every", "wanted"),
    [
        (0, 12, 100, [5, 1, 5, 1]),  # an epoch has six steps, a call at most five
        (0, 12, 4, [4, 2, 2, 4]),
        (3, 11, 100, [3, 5]),  # from the middle of an epoch to that of the next
        (0, 9, 100, [5, 1, 3]),
        (6, 6, 1, []),
    ],
)
def test_a_call_ends_with_what_is_logged_and_with_the_epoch(everything, start, end, log_every, wanted):
    order = input_pipeline.batch_order(48, 8, seed=0)
    how = {"start": start, "end": end, "steps_per_epoch": 6, "log_every": log_every}
    step, sizes = start, []
    for n, batch in input_pipeline.resident_batches(images(48), [order], everything, **how):
        assert batch.num_steps == n
        np.testing.assert_array_equal(batch.order, input_pipeline.epoch_order(order, 6, step // 6))
        sizes.append(n)
        step += n
    assert sizes == wanted
