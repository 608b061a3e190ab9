"""The project a command works on: its folder, its target, and where its plane keeps its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from arco_flow.domain.errors import InvalidInput, did_you_mean
from arco_flow.domain.identifiers import validate_workspace

STATE_FOLDER: Final = ".arco-flow"
PLANE_FILE: Final = "plane.json"
DOCTOR_FILE: Final = "emulated/doctor.env.json"
DEFAULT_WORKSPACE: Final = "default"
_KNOWN_SETTINGS: Final = ("target", "workspace")


class PlaneFile(msgspec.Struct, frozen=True):
    """How to reach the plane that works on a project's state now; mode 0600, it holds a token.

    lasting: the plane goes on after the command that reads this (it is `arco-flow dev`).
    """

    url: str
    token: str
    workspace: str
    pid: int
    lasting: bool


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with code. target: module, file or folder that declares the assets."""

    root: Path
    target: str
    workspace: str

    @property
    def state(self) -> Path:
        """The folder of the embedded plane's state."""
        return self.root / STATE_FOLDER

    def plane_file(self) -> PlaneFile | None:
        """The plane that says it works here; None without one, or when the file is unreadable."""
        try:
            return msgspec.json.decode((self.state / PLANE_FILE).read_bytes(), type=PlaneFile)
        except (OSError, msgspec.DecodeError):
            return None

    def publish(self, plane: PlaneFile) -> Path:
        """Tell other commands of this user where the plane is; answers the file."""
        return _write_private(self.state / PLANE_FILE, plane)

    def keep_doctor_environment(self, environment: Mapping[str, str]) -> None:
        """Tell `arco-flow doctor` of this user how the plane on emulators is wired."""
        _write_private(self.state / DOCTOR_FILE, environment)

    def doctor_environment(self) -> dict[str, str] | None:
        """How the plane on emulators is wired that works here; None without one.

        Raises InvalidInput when the file is unreadable.
        """
        path = self.state / DOCTOR_FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise InvalidInput(
                f"the plane's wiring can not be read: {error}",
                where=str(path),
                fix="start `arco-flow dev --emulated` again",
            ) from error

    def withdraw(self) -> None:
        """The plane ends."""
        for name in (PLANE_FILE, DOCTOR_FILE):
            (self.state / name).unlink(missing_ok=True)


def _write_private(path: Path, content: object) -> Path:
    """Write JSON that nobody else may read, even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(content))
    return path


def find_project(folder: str, target: str | None, workspace: str | None) -> Project:
    """The project of a folder; what is not given comes from `[tool.arco-flow]` in pyproject.toml.

    Raises InvalidInput when the folder or a setting is wrong.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        raise InvalidInput(f"there is no folder '{folder}'", fix="choose one with -C FOLDER")
    settings = _settings(root / "pyproject.toml")
    return Project(
        root=root,
        target=target or settings.get("target", "."),
        workspace=validate_workspace(workspace or settings.get("workspace", DEFAULT_WORKSPACE)),
    )


def _settings(path: Path) -> dict[str, str]:
    import tomllib

    if not path.is_file():
        return {}
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"pyproject.toml can not be read: {error}", where=str(path), fix="mend its TOML"
        ) from error
    tools = document.get("tool", {})
    settings = tools.get("arco-flow", {}) if isinstance(tools, dict) else tools
    if not isinstance(settings, dict):
        raise InvalidInput(
            "the settings are no table", where=f"{path} [tool.arco-flow]", fix='target = "shop.py"'
        )
    for name, value in settings.items():
        if name not in _KNOWN_SETTINGS:
            raise InvalidInput(
                f"unknown setting '{name}'{did_you_mean(name, _KNOWN_SETTINGS)}",
                where=f"{path} [tool.arco-flow]",
                fix=f"known settings: {', '.join(_KNOWN_SETTINGS)}",
            )
        if not isinstance(value, str):
            raise InvalidInput(
                f"setting '{name}' is no text",
                where=f"{path} [tool.arco-flow]",
                fix=f'{name} = "…"',
            )
    return dict(settings)
