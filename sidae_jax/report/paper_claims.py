"""What the paper and the report claim of their methods, as comparisons of accuracies."""

from collections.abc import Iterator
from typing import Literal, NamedTuple


class Side(NamedTuple):
    """The accuracies on one side of a comparison.

    Attributes:
      method, w: of the pre-training. "scratch" is fine-tuning of an untrained backbone.
      epoch: of the checkpoint; None is the last one.
      protocol: of the evaluation.
    """

    method: str
    w: float | None = None
    epoch: int | None = None
    protocol: str = "linear"


class Claim(NamedTuple):
    """That `first` is above `second`, near it, or has the smaller standard error.

    Attributes:
      source: where it is said, or what it is read from.
      label_fraction: of the evaluation.
    """

    source: str
    first: Side
    relation: Literal["above", "near", "steadier"]
    second: Side
    pretrained_on: str
    evaluated_on: str
    label_fraction: float


_GRAY = ("mnist", "fashion_mnist")
_SIMSIAM, _DAE, _SCRATCH = Side("simsiam"), Side("dae"), Side("scratch", protocol="finetune")
_ON_ITSELF = [(name, name, fraction) for name in ("cifar10", "fashion_mnist", "mnist") for fraction in (0.01, 1.0)]
_ON_STL10 = [("stl10", name, 1.0) for name in ("stl10", "cifar10")]


def claims() -> list[Claim]:
    """Returns the claims that compare two methods, weights or checkpoints, in the order of their sources.

    Not among them: that the supervised network loses more accuracy with 1% of the labels than the others (4.2), that
    SimSiam is unstable after 100 epochs on MNIST (4.2) and SidAE steadier over the epochs (6), that with w = 0.75 and
    0.875 accuracy approaches the autoencoder's (4.2), that SidAE of STL-10 is near SidAE of CIFAR-10 (Figure 8), and
    that d changes little (Appendix 2). They compare differences, data sets or networks.

    Of the fine-tuned networks the paper says that SidAE is the best in almost all cases, which are checkpoints; here it
    is the last one. What is near in the report is said by its table alone.
    """
    return [*_table_1(), *_by_epoch(), *_by_weight(), *_finetuned(), *_on_stl10(), *_report()]


def _table_1() -> Iterator[Claim]:
    for data in [*_ON_ITSELF, *_ON_STL10]:
        sidae = Side("sidae", 0.25 if data in _ON_STL10 else 0.5)
        for other in (_SIMSIAM, _DAE):
            yield Claim("paper, Table 1", sidae, "above", other, *data)
    for data in [*_ON_ITSELF, *_ON_STL10]:
        sidae = Side("sidae", 0.25 if data in _ON_STL10 else 0.5)
        source = "paper, 4.2" if data[0] == "cifar10" else "paper, 6"  # where it is said of all
        for steadier in (sidae, _DAE) if data[0] == "cifar10" else (sidae,):
            yield Claim(source, steadier, "steadier", _SIMSIAM, *data)


def _by_epoch() -> Iterator[Claim]:
    methods = sidae, *_ = Side("sidae", 0.5), _SIMSIAM, _DAE
    on_cifar10 = [("cifar10", "cifar10", fraction) for fraction in (0.01, 1.0)]
    for data in on_cifar10:
        for side in methods:
            early, later = (side._replace(epoch=epoch) for epoch in (25, 100))
            yield Claim("paper, Figure 4", later, "above", early, *data)
            yield Claim("paper, Figure 4", side, "above", later, *data)
    few, all_labels = on_cifar10
    for side in methods:
        yield Claim("paper, Figure 4", side._replace(epoch=25), "above", _SCRATCH, *few)
        yield Claim("paper, Figure 4", _SCRATCH, "above", side, *all_labels)
    yield Claim("paper, Figure 4", _SIMSIAM, "above", _DAE, *few)
    yield Claim("paper, Figure 4", _SIMSIAM, "near", _DAE, *all_labels)
    for name in _GRAY:
        for fraction in (0.01, 1.0):
            yield Claim("paper, Figure 5", _DAE, "above", _SIMSIAM, name, name, fraction)
            yield Claim("paper, Figure 5", sidae, "above", _SCRATCH, name, name, fraction)


def _by_weight() -> Iterator[Claim]:
    falling = ((0.25, 0.5), (0.5, 0.75), (0.75, 0.875))
    for fraction in (0.01, 1.0):
        data = ("cifar10", "cifar10", fraction)
        for low, high in ((0.125, 0.25), (0.125, 0.5), *falling, (0.5, 0.875)):
            yield Claim("paper, Figure 6", Side("sidae", low), "above", Side("sidae", high), *data)
        for other in (_SIMSIAM, _DAE):
            yield Claim("paper, Figure 6", Side("sidae", 0.125), "above", other, *data)
    for data in _ON_STL10:
        for low, high in ((0.25, 0.125), *falling):
            yield Claim("paper, Appendix 1", Side("sidae", low), "above", Side("sidae", high), *data)
    for name, fraction in (("fashion_mnist", 0.01), ("fashion_mnist", 1.0), ("mnist", 1.0)):
        for w in (0.125, 0.25, 0.75, 0.875):
            yield Claim("paper, Appendix 1", Side("sidae", w), "near", Side("sidae", 0.5), name, name, fraction)


def _finetuned() -> Iterator[Claim]:
    sidae, simsiam, dae = (s._replace(protocol="finetune") for s in (Side("sidae", 0.125), _SIMSIAM, _DAE))
    for fraction in (0.01, 1.0):
        for side in (sidae, simsiam, dae):
            yield Claim("paper, Figure 7", side, "above", _SCRATCH, "cifar10", "cifar10", fraction)
        for other in (simsiam, dae):
            yield Claim("paper, Figure 7", sidae, "above", other, "cifar10", "cifar10", fraction)


def _on_stl10() -> Iterator[Claim]:
    sidae = Side("sidae", 0.25)
    to_itself, to_cifar10 = _ON_STL10
    for first, second in ((sidae, _SCRATCH), (_SIMSIAM, _SCRATCH), (_SCRATCH, _DAE)):
        yield Claim("paper, Figure 8", first, "above", second, *to_itself)
    for side in (sidae, _SIMSIAM, _DAE):
        yield Claim("paper, Figure 8", _SCRATCH, "above", side, *to_cifar10)
    for data in _ON_STL10:
        yield Claim("paper, Figure 8", Side("sidae", 0.125), "near", sidae, *data)


def _report() -> Iterator[Claim]:
    ae, vae, simclr = (Side(method, protocol="mlp") for method in ("ae", "vae", "simclr"))
    for other in (ae, vae):
        yield Claim("report, Table 1", simclr, "above", other, "cifar10", "cifar10", 1.0)
        yield Claim("read from report, Table 1", simclr, "near", other, "mnist", "mnist", 1.0)
    for name in ("cifar10", "mnist"):
        yield Claim("read from report, Table 1", ae, "near", vae, name, name, 1.0)
