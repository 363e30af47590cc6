"""The settings that a method has beyond those common to all (stand-in for the core's file of this name)."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class SidAESettings:
    """SidAE."""

    d_hid: int = 2048
    w: float = 0.5
    target: str = "image"


@dataclasses.dataclass(frozen=True)
class SimSiamSettings:
    """SimSiam."""

    d_hid: int = 2048


@dataclasses.dataclass(frozen=True)
class DAESettings:
    """DAE."""

    d_hid: int = 2048
    target: str = "image"


@dataclasses.dataclass(frozen=True)
class AESettings:
    """AE."""

    d_hid: int = 128
    num_classes: int = 10


@dataclasses.dataclass(frozen=True)
class VAESettings:
    """VAE."""

    d_hid: int = 128
    beta: float = 0.1
    num_classes: int = 10


@dataclasses.dataclass(frozen=True)
class SimCLRSettings:
    """SimCLR."""

    d_hid: int = 128
    temperature: float = 0.1
    num_classes: int = 10


@dataclasses.dataclass(frozen=True)
class SupervisedSettings:
    """The supervised baseline."""

    num_classes: int = 10


METHOD_SETTINGS = {
    "sidae": SidAESettings,
    "simsiam": SimSiamSettings,
    "dae": DAESettings,
    "ae": AESettings,
    "vae": VAESettings,
    "simclr": SimCLRSettings,
    "supervised": SupervisedSettings,
}
REPORT_METHODS = ("ae", "vae", "simclr", "supervised")
