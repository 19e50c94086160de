"""A room imports only from rooms below it."""

import re

import pytest

from bench.house import PACKAGE, arrows, circles, imports, room, sources

# From the ground up: each room with those that it may import from, besides itself.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "backend": {"errors"},
    "autograd": {"backend", "errors"},
    "nn": {"autograd", "backend", "errors"},
    "optim": {"autograd", "backend", "errors"},
    "io": {"backend", "errors"},
    "nets": {"nn", "autograd", "backend", "errors"},
    "diagnostics": {"nets", "nn", "autograd", "backend", "errors"},
    "models": {"nets", "nn", "io", "autograd", "backend", "errors"},
    "export": {"models", "nets", "nn", "io", "autograd", "backend", "errors"},
    "training": {"models", "nets", "nn", "optim", "io", "autograd", "backend", "errors"},
    "methods": {"training", "models", "nets", "nn", "optim", "io", "autograd", "backend", "errors"},
    "api": {"methods", "training", "models", "io", "backend", "errors"},
    "server": {"methods", "models", "io", "backend", "errors"},
    "cli": {"server", "api", "methods", "training", "models", "export", "diagnostics", "io", "backend", "errors"},
    "__main__": {"cli"},
}


def test_every_file_is_in_a_room():
    assert set(arrows()) == ROOMS.keys()


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_the_rooms_it_may(path):
    assert imports(path) - {room(path)} <= ROOMS[room(path)]


def test_the_list_of_rooms_admits_no_circle():
    done: set[str] = set()
    for name, below in ROOMS.items():
        assert below <= done, f"{name} may import from {below - done}, which stands above it"
        done.add(name)


def test_there_is_no_circle():
    assert circles(arrows()) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]


def test_a_planted_upward_import_is_seen(tmp_path):
    planted = tmp_path / "conv.py"
    planted.write_text("from nanostyle.cli import main\nimport nanostyle.methods.gatys\n")
    assert imports(planted) == {"cli", "methods"}
    assert not imports(planted) <= ROOMS["autograd"]


def test_only_the_backend_imports_cupy():
    for path in sources():
        if path != PACKAGE / "backend" / "device.py" and PACKAGE / "backend" / "gpu" not in path.parents:
            assert not re.search(r"^\s*import cupy|^\s*from cupy", path.read_text(), re.M), path
