"""Arrows only point down, and importing the package loads nothing heavy."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import napari_topiary

PACKAGE = Path(napari_topiary.__file__).parent
HEAVY = ("torch", "napari", "qtpy", "PyQt6", "PySide6", "magicgui", "superqt")

# What may import what: a room imports only from itself and from floors below.
FLOORS = (
    ("types", "registry", "forms", "errors", "words"),
    ("config",),
    ("annotations", "networks"),
    ("io",),
    ("normalisation",),
    ("checkpoint",),
    ("data", "session"),
    ("postprocessing",),
    ("inference",),
    ("evaluation",),
    ("training", "pruning"),
    ("jobs",),
    ("report",),
    ("studies", "export"),
    ("cli",),
    ("_napari", "__main__"),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
TORCH_FREE = (
    "types",
    "registry",
    "config",
    "forms",
    "errors",
    "words",
    "annotations",
    "io",
    "normalisation",
    "session",
)


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package: dotted name below the package, and its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            yield name, path


MODULES = tuple(modules())
NAMES = {name for name, _ in MODULES}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Modules of this package that a file imports anywhere, with the line."""
    prefix = "napari_topiary."
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            if node.module == "napari_topiary":
                for alias in node.names:
                    yield (
                        node.lineno,
                        napari_topiary._HOME_OF.get(alias.name, alias.name),
                    )
            elif node.module.startswith(prefix):
                home = node.module.removeprefix(prefix)
                for alias in node.names:
                    inner = f"{home}.{alias.name}"
                    yield node.lineno, inner if inner in NAMES else home
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(prefix):
                    yield node.lineno, alias.name.removeprefix(prefix)


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `code`."""
    report = "import sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {name.split(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import napari_topiary").isdisjoint(HEAVY)


def test_help_loads_next_to_nothing():
    code = (
        "from napari_topiary.cli import main\n"
        "import contextlib, io\n"
        "with contextlib.redirect_stdout(io.StringIO()): main(['--help'])"
    )
    slow = {"numpy", "scipy", "skimage", "tifffile", "zarr", "psutil", "PIL"}
    assert loaded_by(code).isdisjoint({*HEAVY, *slow})


def test_what_does_not_compute_does_not_load_torch():
    names = [name for name, _ in MODULES if name.split(".")[0] in TORCH_FREE]
    assert "types" in names
    loaded = loaded_by("\n".join(f"import napari_topiary.{name}" for name in names))
    assert loaded.isdisjoint(HEAVY)


def test_the_core_does_not_load_the_window():
    names = [name for name, _ in MODULES if name.split(".")[0] != "_napari"]
    names = [name for name in names if not name.endswith("__main__")]
    loaded = loaded_by("\n".join(f"import napari_topiary.{name}" for name in names))
    assert loaded.isdisjoint(set(HEAVY) - {"torch"})


def test_every_module_has_its_floor():
    unknown = {name.split(".")[0] for name, _ in MODULES} - set(FLOOR_OF)
    assert not unknown, f"Say in FLOORS what may import {sorted(unknown)}."


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_point_down(name, path):
    own = name.split(".")[0]
    for line, other in imports(path):
        home = other.split(".")[0]
        if home == own or home not in FLOOR_OF:
            continue
        where = f"{path.name}:{line} imports {home}"
        assert FLOOR_OF[home] < FLOOR_OF[own], f"{where}, which is not below {own}"


def test_no_files_outside_the_window_need_one_another():
    needs = {name: set() for name, _ in MODULES if not name.startswith("_napari")}
    for name in needs:
        path = dict(MODULES)[name]
        needs[name] = {other for _, other in imports(path)} - {name}
    while free := [
        name
        for name, own in needs.items()
        if own.isdisjoint(needs) or not any(name in other for other in needs.values())
    ]:
        for name in free:
            del needs[name]
    assert not needs


def test_no_public_name_is_lost():
    for name in napari_topiary.__all__:
        assert getattr(napari_topiary, name) is not None
    assert set(napari_topiary.__all__) == set(napari_topiary._HOME_OF)
    with pytest.raises(AttributeError, match="no attribute 'prnue'"):
        napari_topiary.prnue  # noqa: B018


def test_only_the_window_imports_qt_and_napari():
    ruff = [sys.executable, "-m", "ruff", "check", "--select", "TID251", str(PACKAGE)]
    done = subprocess.run(ruff, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_only_the_coupling_imports_torch_pruning():
    code = {name: path.read_text(encoding="utf-8") for name, path in MODULES}
    users = [name for name, text in code.items() if "import torch_pruning" in text]
    assert users == ["pruning.coupling"]


def classes(path: Path) -> Iterator[ast.ClassDef]:
    """Classes at the top of a file."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            yield node


def test_no_two_public_classes_share_a_name() -> None:
    homes: dict[str, list[str]] = {}
    for name, path in MODULES:
        for found in classes(path):
            if not found.name.startswith("_"):
                homes.setdefault(found.name, []).append(name)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


BUILT_BY_POSITION = "Batch Dataset Detections Field Progress RawImage Sample".split()
"""Their values come in an order that everybody knows."""


def test_values_of_many_parts_are_built_by_name() -> None:
    by_position = []
    for name, path in MODULES:
        if name.startswith("_napari"):
            continue
        for found in classes(path):
            how = " ".join(map(ast.unparse, found.decorator_list))
            parts = [
                each
                for each in found.body
                if isinstance(each, ast.AnnAssign)
                and "ClassVar" not in ast.unparse(each.annotation)
            ]
            if "dataclass" in how and "kw_only" not in how and len(parts) > 4:
                by_position.append(found.name)
    assert sorted(by_position) == sorted(BUILT_BY_POSITION)
