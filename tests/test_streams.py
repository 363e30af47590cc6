"""Streams of random numbers never meet: over all pairs, for several seeds, and where one is split further."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from sidae_jax import streams
from sidae_jax.streams import Stream
from sidae_jax.training.input_pipeline import batch_order

SEEDS = (0, 1, 2, 2**32 - 1)
PAIRS = list(itertools.product(Stream, SEEDS))


def assert_all_differ(drawn):
    """`drawn`: lists of numbers by what drew them. No number stands in two of them, nor at the same place of any."""
    values = [value for numbers in drawn.values() for value in numbers]
    assert len(set(values)) == len(values)


def test_the_tags_are_different_and_none_is_zero():
    assert len({int(stream) for stream in Stream}) == len(Stream)  # an enum would make equal ones aliases
    assert len(Stream.__members__) == len(Stream)
    assert min(Stream) > 0


def test_no_two_generators_draw_the_same():
    draws = {pair: streams.generator(*pair).integers(2**63, size=50).tolist() for pair in PAIRS}
    untagged = {seed: np.random.default_rng(seed).integers(2**63, size=50).tolist() for seed in range(100, 104)}
    assert_all_differ(draws | untagged)
    # what the tags are there for: NumPy takes these two for the same seed
    np.testing.assert_array_equal(np.random.default_rng([7, 0]).random(3), np.random.default_rng(7).random(3))


def test_no_two_keys_are_the_same_nor_any_that_are_made_of_them():
    def data(keys):
        return [tuple(key) for key in np.asarray(jax.random.key_data(keys)).reshape(-1, 2).tolist()]

    drawn = {}
    for seed in SEEDS:
        root = jax.random.key(seed)
        drawn["root", seed] = data(root)
        for stream in Stream:
            drawn[stream, seed] = data(streams.fold(root, stream))
        for stream in (Stream.VIEWS, Stream.METHOD):  # as the step derives them
            for step in range(3):
                keys = streams.example_keys(root, stream, jnp.int32(step), jnp.arange(20))
                drawn[stream, seed, step] = data(keys)
                # the two views of each example
                drawn[stream, seed, step, "split"] = data(jax.vmap(lambda key: jax.random.split(key, 2))(keys))
    assert_all_differ(drawn)
    # what the tags are there for: the first of two keys made of one is that with 0 folded into it
    key = jax.random.key(3)
    assert data(jax.random.split(key, 2)[0]) == data(jax.random.fold_in(key, 0))


def test_no_epoch_of_a_seed_has_the_order_of_any_epoch_of_another():
    images, epochs = 64, 20
    orders = [batch_order(images, images, seed) for seed in range(6)]
    seen = {tuple(order[epoch].tolist()) for order in orders for epoch in range(epochs)}
    assert len(seen) == len(orders) * epochs


def test_numbers_for_libraries_that_add_an_epoch_do_not_reach_those_of_another_seed():
    numbers = sorted(streams.integer(Stream.BATCH_ORDER, seed) for seed in range(300))
    assert min(np.diff(numbers)) > 1000  # epochs
