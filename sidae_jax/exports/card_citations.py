"""What a model card calls the methods, and the papers to cite."""

from typing import NamedTuple

SIDAE = """@article{baier2023sidae,
  title   = {Self-Supervised Siamese Autoencoders},
  author  = {Baier, Friederike and Mair, Sebastian and Fadel, Samuel G.},
  journal = {arXiv preprint arXiv:2304.02549},
  year    = {2023}
}"""


class Method(NamedTuple):
    """A method's name in prose, and BibTeX of its paper; SidAE's, which compares them, where there is no other."""

    title: str
    citation: str


METHODS = {
    "sidae": Method("SidAE", SIDAE),
    "simsiam": Method(
        "SimSiam",
        """@inproceedings{chen2021simsiam,
  title     = {Exploring Simple Siamese Representation Learning},
  author    = {Chen, Xinlei and He, Kaiming},
  booktitle = {CVPR},
  year      = {2021}
}""",
    ),
    "dae": Method(
        "denoising autoencoder",
        """@inproceedings{vincent2008dae,
  title     = {Extracting and Composing Robust Features with Denoising Autoencoders},
  author    = {Vincent, Pascal and Larochelle, Hugo and Bengio, Yoshua and Manzagol, Pierre-Antoine},
  booktitle = {ICML},
  year      = {2008}
}""",
    ),
    "ae": Method("autoencoder", SIDAE),
    "vae": Method(
        "variational autoencoder",
        """@inproceedings{kingma2014vae,
  title     = {Auto-Encoding Variational Bayes},
  author    = {Kingma, Diederik P. and Welling, Max},
  booktitle = {ICLR},
  year      = {2014}
}""",
    ),
    "simclr": Method(
        "SimCLR",
        """@inproceedings{chen2020simclr,
  title     = {A Simple Framework for Contrastive Learning of Visual Representations},
  author    = {Chen, Ting and Kornblith, Simon and Norouzi, Mohammad and Hinton, Geoffrey},
  booktitle = {ICML},
  year      = {2020}
}""",
    ),
    "supervised": Method("supervised", SIDAE),
}
