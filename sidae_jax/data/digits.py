"""scikit-learn's handwritten digits as a TFDS data set: real images, no network needed."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from sidae_jax.data.png import encode_png


class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """1,797 gray 8x8 images of handwritten digits (Alpaydin and Kaynak, UCI, 1998).

    Example i of `sklearn.datasets.load_digits` is in "test" where i % 5 == 0 (360 images) and in
    "train" elsewhere (1,437). Its values 0..16 become uint8 round(v * 255 / 16).
    """

    name = "digits"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Optical recognition of handwritten digits, as scikit-learn holds it.",
            features=tfds.features.FeaturesDict(
                {"image": tfds.features.Image(shape=(8, 8, 1)), "label": tfds.features.ClassLabel(num_classes=10)}
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # the data lies in the scikit-learn package
        return {"train": self._generate_examples(test=False), "test": self._generate_examples(test=True)}

    def _generate_examples(self, test: bool) -> Iterator[tuple[int, dict]]:
        from sklearn.datasets import load_digits  # here: only a preparation needs this slow import

        values, labels = load_digits(return_X_y=True)
        pixels = np.rint(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            if (index % 5 == 0) == test:
                yield index, {"image": encode_png(image), "label": int(label)}
