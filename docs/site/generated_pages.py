"""A hook of MkDocs: pages that are made when the site is built, and so cannot be out of date.

config_keys.md comes from `sidae_jax.key_help`, and changelog.md and contributing.md are the files at the top of the
repository.
"""

import pathlib
import re
from collections.abc import Callable

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from sidae_jax import key_help
from sidae_jax.config import pretraining
from sidae_jax.config_files import load_config, names
from sidae_jax.config_values import flat
from sidae_jax.evaluation.config import protocol
from sidae_jax.evaluation.protocols import PROTOCOLS
from sidae_jax.key_help import Key
from sidae_jax.settings import FOLDER, METHOD_SETTINGS

ROOT = pathlib.Path(__file__).parents[2]
HEAD = "| key | default | meaning | values |\n|---|---|---|---|\n"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages to those in docs/."""
    pages = {"config_keys.md": config_keys()}
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        inside = (ROOT / name).read_text().replace("](docs/", "](")
        pages[name.lower()] = re.sub(r"\[(tests/[^]]*)\]\([^)]*\)", r"`\1`", inside)  # the site holds docs/ alone
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def config_keys() -> str:
    """Returns the page of all keys: of each method and protocol, and what the packaged configs change."""
    methods = {name: key_help.keys(pretraining(name, "cifar10")) for name in METHOD_SETTINGS}
    everywhere = set.intersection(*({key.name for key in keys} for keys in methods.values()))
    folder = {key.name for key in key_help.keys(pretraining("sidae", FOLDER))} - {key.name for key in methods["sidae"]}
    protocols = {name: key_help.keys(protocol(name)) for name in PROTOCOLS}
    shared = {key.name for keys in protocols.values() for key in keys if "." not in key.name}
    return "\n".join(
        [
            "# Configuration keys",
            "",
            "Made from `sidae_jax.key_help` when this site is built; `--config=NAME --help` prints the same for one "
            "config. A key is set as `--config.KEY=VALUE`, in a config file, or by `sidae_jax.make_config`.",
            "",
            "## Pre-training, all methods",
            "",
            table(methods, lambda name: name in everywhere and "." not in name),
            "## Views",
            "",
            table(methods, lambda name: name.startswith("views.")),
            "## Of some methods",
            "",
            table(methods, lambda name: name not in everywhere),
            "## A folder of images",
            "",
            "With `--config=folder`:",
            "",
            table({"sidae": key_help.keys(pretraining("sidae", FOLDER))}, lambda name: name in folder),
            "## What the packaged configs change",
            "",
            changes(),
            "## Evaluation, all protocols",
            "",
            table(protocols, lambda name: name in shared),
            *(
                f"## {PROTOCOLS[name].title}: `--config={PROTOCOLS[name].config_name}`\n\n"
                + table({name: keys}, lambda key: "." in key)
                for name, keys in protocols.items()
                if any("." in key.name for key in keys)
            ),
        ]
    )


def table(keys_of: dict[str, list[Key]], wanted: Callable[[str], bool]) -> str:
    """Returns the wanted keys of several methods or protocols, a row each; defaults that are not of all name whose."""
    rows: dict[str, dict[str, Key]] = {}
    for owner, keys in keys_of.items():
        for key in keys:
            if wanted(key.name):
                rows.setdefault(key.name, {})[owner] = key
    return HEAD + "".join(row(by_owner, len(keys_of)) for by_owner in rows.values())


def row(by_owner: dict[str, Key], owners: int) -> str:
    """Returns the row of a key."""
    first = next(iter(by_owner.values()))
    having: dict[str, list[str]] = {}
    for owner, key in by_owner.items():
        having.setdefault(value(key.default), []).append(owner)
    default = "<br>".join(f"{text} ({', '.join(of)})" for text, of in having.items())
    if len(having) == 1 and len(by_owner) == owners:
        default = next(iter(having))
    elif all(key.default == owner for owner, key in by_owner.items()):  # method, protocol
        default = "its name"
    return f"| `{first.name}` | {default} | {first.meaning} | {first.values} |\n"


def changes() -> str:
    """Returns a table of the keys that the packaged configs set otherwise than the method's defaults, for SidAE."""
    rows = []
    for name in names("config"):
        config = load_config(name, [])
        if "protocol" not in config:
            default = flat(pretraining(config.method, config.dataset))
            own = [f"`{key}` = {value(v)}" for key, v in flat(config).items() if v != default[key]]
            rows.append(f"| `{name}` | {', '.join(own) or 'nothing'} |\n")
    return "For `sidae`, beside `dataset`:\n\n| config | changes |\n|---|---|\n" + "".join(rows)


def value(default: object) -> str:
    """Returns a default as it is written on the command line."""
    return f"`{default}`"
