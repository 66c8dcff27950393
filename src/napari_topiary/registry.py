"""One kind of table for everything that can be added to: name -> thing.

A new network, criterion, annotation kind or file format is one new file with a
decorator; other packages add theirs through the entry point group
`napari_topiary.<kind>`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, version
from pkgutil import iter_modules
from typing import Generic, TypeVar

T = TypeVar("T")


def find_members(package: str, folders: Iterable[str]) -> None:
    """Import every file of a package, so that each registers what it has.

    Parameters
    ----------
    package
        Its full name.
    folders
        Its `__path__`.
    """
    for module in iter_modules(folders):
        import_module(f"{package}.{module.name}")


class Registry(Generic[T]):
    """Named things of one kind, refusing duplicates and explaining misses.

    Parameters
    ----------
    kind
        What the things are, in the singular ("network").
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._things: dict[str, T] = {}
        self._entry_points_loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files a thing under `name`."""

        def decorate(thing: T) -> T:
            if name in self._things:
                raise ValueError(
                    f"The {self.kind} {name!r} is already registered: "
                    f"{self._things[name]!r}; {thing!r} needs another name."
                )
            self._things[name] = thing
            return thing

        return decorate

    def __getitem__(self, name: str) -> T:
        """Look a thing up; a miss names what is known."""
        self._load_entry_points()
        try:
            return self._things[name]
        except KeyError:
            close = get_close_matches(name, self._things, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"There is no {self.kind} called {name!r}.{hint} "
                f"Known: {', '.join(self)}."
            ) from None

    def __contains__(self, name: object) -> bool:
        """Whether something is filed under `name`."""
        self._load_entry_points()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        """Names in alphabetical order."""
        self._load_entry_points()
        return iter(sorted(self._things))

    def __len__(self) -> int:
        """How many things there are."""
        self._load_entry_points()
        return len(self._things)

    def _load_entry_points(self) -> None:
        if self._entry_points_loaded:
            return
        self._entry_points_loaded = True
        for point in entry_points(group=f"napari_topiary.{self.kind}"):
            point.load()


def program_version() -> str:
    """Return the version that is installed; "unknown" in a bare checkout."""
    try:
        return version("napari-topiary")
    except PackageNotFoundError:
        return "unknown"
