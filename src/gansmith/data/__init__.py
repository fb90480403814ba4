"""Any images in, one memory-mapped uint8 store out.

Members of the family are listed in ``SOURCES``; ``resolve`` turns what a user types into one of them.
"""

from __future__ import annotations

from gansmith.component import Component

__all__ = ["SOURCES"]

SOURCES: dict[str, type[Component] | str] = {
    "digits": "gansmith.data.digits:Digits",
    "signs": "gansmith.data.signs:Signs",
    "mnist": "gansmith.data.idx:Mnist",
    "fashion-mnist": "gansmith.data.idx:FashionMnist",
    "cifar10": "gansmith.data.cifar:Cifar10",
    "gtsrb": "gansmith.data.gtsrb:Gtsrb",
    "folder": "gansmith.data.folder:Folder",
    "npz": "gansmith.data.npz:Npz",
}
