"""Writes docs/keys.md: every key of every recipe, of spaces and of archs. Run by `make keys`; a test holds it."""

from __future__ import annotations

from pathlib import Path

from lighthubert.elastic import Arch, SearchSpace
from lighthubert.finetune.recipe import Finetune
from lighthubert.keys import list_keys
from lighthubert.pretrain.recipe import Distill, Units
from lighthubert.prune.recipe import Prune
from lighthubert.search.recipe import Search
from lighthubert.superb.recipe import Reference, Sweep

PAGE = Path(__file__).with_name("keys.md")
SECTIONS: dict[str, type] = {
    "pretrain, objective: distill": Distill,
    "pretrain, objective: units": Units,
    "finetune": Finetune,
    "prune": Prune,
    "search": Search,
    "superb sweep": Sweep,
    "superb sweep, the file `reference`": Reference,
    "Search spaces": SearchSpace,
    "Archs": Arch,
}
HEAD = """# All keys

Made by `make keys` from the classes that read the files; `lighthubert VERB --help` prints the same. A key with a dot
stands in a section: `train.lr` is `lr` below `train:`. Every recipe may also have `base: OTHER.yaml`, a file beside it
whose values it takes over; it merges into them key by key. On the command line `key=value` replaces a value, a mapping
too (`budget={params: 1e6}`, `task.where={}`); `null` removes a key of a mapping with keys of your own
(`budget.macs=null`) and is "nothing" for any other key."""


def page() -> str:
    """The page's text."""
    parts = [HEAD]
    for title, schema in SECTIONS.items():
        rows = [f"| `{k.name}` | {k.kind.replace('|', 'or')} | `{k.default}` | {k.about} |" for k in list_keys(schema)]
        table = "\n".join(["| key | holds | default | what it is |", "|---|---|---|---|", *rows])
        parts.append(f"## {title}\n\n{' '.join((schema.__doc__ or '').split())}\n\n{table}")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
