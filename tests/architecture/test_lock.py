"""The lock of the functions' image pins all that it needs, by hash, and names no place."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from architecture.sources import ROOT

LOCK = ROOT / "functions" / "requirements.lock"
PIN = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)==([0-9][0-9a-z.]*) \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
COMMENT = re.compile(r" *# [\w .:()-]+|    #   [\w.-]+(?: \([\w.-]+\))?")


def _lines():
    return LOCK.read_text(encoding="utf-8").splitlines()


def _pins():
    """Version and number of hashes by name."""
    found, name = {}, ""
    for line in _lines():
        if pin := PIN.fullmatch(line):
            name = pin[1]
            assert name not in found, f"{name} is pinned twice"
            found[name] = (pin[2], 0)
        elif HASH.fullmatch(line):
            version, hashes = found[name]
            found[name] = (version, hashes + 1)
    return found


def _needed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["gcp"]]
    return [Requirement(text) for text in wanted]


@pytest.mark.parametrize("requirement", _needed(), ids=lambda requirement: requirement.name)
def test_what_the_functions_need_is_pinned_within_its_bounds(requirement):
    pins = _pins()
    if requirement.marker and not requirement.marker.evaluate({"sys_platform": "linux"}):
        assert requirement.name not in pins, "the image is one of Linux"
        return
    version, _ = pins[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), "run: make lock"


def test_every_pin_has_its_hashes():
    assert not [name for name, (_, hashes) in _pins().items() if not hashes]


def test_a_lock_holds_pins_hashes_and_comments_and_names_no_place():
    other = [
        line
        for line in _lines()
        if not (PIN.fullmatch(line) or HASH.fullmatch(line) or COMMENT.fullmatch(line))
    ]
    assert not other
    text = LOCK.read_text(encoding="utf-8")
    assert "://" not in text
    assert "@" not in text
    assert text.splitlines()[1].strip("# ") == "make lock"


def test_the_image_takes_nothing_but_what_is_locked():
    image = (ROOT / "functions" / "Dockerfile").read_text("utf-8")
    installs = [line for line in image.splitlines() if "pip install" in line]
    assert [("--require-hashes" in line, "--no-deps" in line) for line in installs] == [
        (True, True),
        (False, True),
    ], "the lock by its hashes, and this project without what it depends on"
    python = re.search(r"--python-version (\S+)", (ROOT / "Makefile").read_text("utf-8"))
    assert python
    assert set(re.findall(r"^FROM python:([0-9.]+)-slim", image, re.MULTILINE)) == {python[1]}
    assert re.search(r"^USER [1-9]\d*$", image, re.MULTILINE), "not root"


def test_what_the_image_is_built_of_is_there_and_nothing_else_is_sent():
    image = (ROOT / "functions" / "Dockerfile").read_text("utf-8")
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", image, re.MULTILINE)
    sources = {source for line in copies for source in line.split()}
    assert all((ROOT / source).exists() for source in sources)
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in ignored if not line.startswith("#")]
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    assert rules[0] == "*"
    assert sent == {source.partition("/")[0] for source in sources}
    assert {"**/__pycache__", "**/.arco-flow"} <= set(rules)


def test_the_bytecode_of_the_image_holds_whatever_the_times_of_its_files_become():
    """A builder may set all to one moment; stale bytecode is a start of three times the cost."""
    image = (ROOT / "functions" / "Dockerfile").read_text("utf-8")
    [compiled] = re.findall(r"-m compileall ((?:.*\\\n)*.*)", image)
    assert {"-f", "unchecked-hash", "/app/functions", "/app/venv/lib"} <= set(compiled.split())
