"""What the repository may hold: the entries at its root, and no binary or large file without origin and license."""

import re
import subprocess

import pytest

from tests.support.paths import ROOT

TABLE = "docs/pictures/LICENSES.md"
FILES = {
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
}
FOLDERS = {".ci", ".github", "bench", "docs", "kernels", "nanostyle", "tests", "weights"}
LARGE = 1_000_000  # bytes


def git(root, *words):
    """The lines that a git command prints. Skips the test where `root` is no checkout, as in an sdist."""
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    result = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True)
    if result.returncode:
        pytest.skip(f"git does not answer: {result.stderr.strip()}")
    return result.stdout.splitlines()


def tracked(root):
    return git(root, "-c", "core.quotePath=false", "ls-files")


def binaries(root):
    """Tracked files that git takes for binary."""
    lines = git(root, "-c", "core.quotePath=false", "ls-files", "--eol")
    return {line.partition("\t")[2] for line in lines if line.startswith("i/-text")}


def large(root):
    """Tracked files over `LARGE` bytes."""
    paths = [root / name for name in tracked(root)]
    return {p.relative_to(root).as_posix() for p in paths if p.is_file() and p.stat().st_size > LARGE}


def rows(text):
    """File -> the other cells of its row, of the table in LICENSES.md."""
    found = re.findall(r"^\| `([^`]+)` \|(.*)\|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split(" | ")] for name, cells in found}


def test_every_binary_has_a_row_with_origin_author_license_and_how_it_was_made():
    table = rows((ROOT / TABLE).read_text())
    assert binaries(ROOT) == set(table)
    assert all(len(cells) == 4 and all(cells) for cells in table.values())


def test_every_large_file_has_a_row():
    assert large(ROOT) <= set(rows((ROOT / TABLE).read_text()))


def test_only_known_entries_stand_at_the_root():
    names = tracked(ROOT)
    assert {name for name in names if "/" not in name} == FILES
    assert {name.partition("/")[0] for name in names if "/" in name} == FOLDERS


def test_contributing_names_what_may_stand_at_the_root():
    line = re.search(
        r"^At the root stand only (.*?)\.\s", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert set(re.findall(r"`([^`]+)`", line[1])) == FILES | {f"{name}/" for name in FOLDERS}


def test_the_sdist_holds_all_that_stands_at_the_root():
    listed = re.search(
        r"^\[tool.hatch.build.targets.sdist\]\nonly-include = \[(.*?)\]",
        (ROOT / "pyproject.toml").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    # What a forge or a checkout alone needs is left out; hatchling adds .gitignore.
    left_out = {".gitignore", ".github", ".pre-commit-config.yaml"}
    assert set(re.findall(r'"([^"]+)"', listed[1])) == (FILES | FOLDERS) - left_out


def test_every_picture_is_shown_somewhere():
    pages = [ROOT / name for name in tracked(ROOT) if name.endswith(".md") and name != TABLE]
    text = "\n".join(page.read_text() for page in pages)
    for name in binaries(ROOT):
        assert not name.startswith("docs/") or name in text, f"no page names {name}"


USERS_SEE = ("nanostyle/cli", "nanostyle/api.py")
SILENT = "Changelog: none"  # a line of the message of a commit that users do not notice


def unnamed(root):
    """Commits since the last change of CHANGELOG.md that change what users see and do not say `Changelog: none`."""
    (last,) = git(root, "log", "-1", "--format=%H", "--", "CHANGELOG.md") or [""]
    commits = git(root, "log", "--format=%h", f"{last}..HEAD", "--", *USERS_SEE)
    return [name for name in commits if SILENT not in git(root, "log", "-1", "--format=%B", name)]


def test_the_changelog_names_what_users_notice():
    if git(ROOT, "rev-parse", "--is-shallow-repository") == ["true"]:
        pytest.skip("the checkout has no history")
    assert unnamed(ROOT) == [], f"add a line to CHANGELOG.md, or `{SILENT}` to the message of the commit"


def test_a_change_without_a_line_in_the_changelog_is_found(tmp_path):
    def commit(name, message):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(message)
        words = ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", message]
        for step in (["add", "."], words):
            subprocess.run(["git", "-C", tmp_path, *step], check=True)

    if git(ROOT, "--version"):
        subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    commit("nanostyle/cli/a.py", "one")
    commit("CHANGELOG.md", "two")
    commit("nanostyle/nn/a.py", "three")
    commit("nanostyle/cli/a.py", f"four\n\n{SILENT}")
    assert unnamed(tmp_path) == []
    commit("nanostyle/api.py", "five")
    assert len(unnamed(tmp_path)) == 1


def test_a_stray_is_found(tmp_path):
    """The checks above see a binary and a large text that no row names."""
    if git(ROOT, "--version"):
        subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "stray.png").write_bytes(b"\x89PNG\r\n\0\0")
    (tmp_path / "large.txt").write_text("a line\n" * (LARGE // 7 + 1))
    (tmp_path / "small.txt").write_text("a line\n")
    subprocess.run(["git", "-C", tmp_path, "add", "."], check=True)
    assert tracked(tmp_path) == ["folder/stray.png", "large.txt", "small.txt"]
    assert binaries(tmp_path) == {"folder/stray.png"}
    assert large(tmp_path) == {"large.txt"}
    assert rows("| file | origin |\n| `a.png` | b | c | d | e |\n") == {"a.png": ["b", "c", "d", "e"]}
