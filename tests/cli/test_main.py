"""The command line as a whole: help, examples, speed, errors and exit codes."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
from cli_runner import COMMAND, answer, environment, run
from click.testing import CliRunner

from arco_flow.cli import failures
from arco_flow.cli.main import COMMANDS, cli
from arco_flow.domain.errors import InvalidInput, Unavailable


def every_command() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, entry in COMMANDS.items():
        command = import_module(f"arco_flow.cli.commands.{entry.module}").command
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", inner) for sub, inner in command.commands.items()]
        else:
            found.append((name, command))
    return found


@pytest.mark.parametrize(
    ("name", "command"), every_command(), ids=lambda x: x if isinstance(x, str) else ""
)
def test_every_command_has_an_example_a_description_and_json(
    name: str, command: click.Command
) -> None:
    shown = CliRunner().invoke(cli, [*name.split(), "--help"])
    assert shown.exit_code == 0
    assert "Example: arco-flow " in shown.output
    assert "--json" in shown.output
    assert len((command.help or "").splitlines()[0]) > 15
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in ("limit", "port"):
            assert parameter.help, f"{name} {parameter.opts}"


def test_the_list_of_commands_names_each_with_a_line() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    for name, entry in COMMANDS.items():
        assert f"{name} " in shown
        assert entry.summary in shown
    assert len(shown.splitlines()) < 30


def cpu_seconds(*command: str) -> float:
    """CPU of a process and its children, the best of seven."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, env=environment(), capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    return min(once() for _ in range(7))


def test_help_costs_at_most_sixty_milliseconds_of_cpu_over_a_bare_interpreter() -> None:
    bare = cpu_seconds(sys.executable, "-c", "pass")
    assert cpu_seconds(*COMMAND, "--help") - bare <= 0.060


def test_help_and_errors_import_neither_the_engine_nor_a_server_nor_frames() -> None:
    code = (
        "import sys\nfrom arco_flow.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('msgspec', 'asyncio', 'http.client', 'rich', 'sqlite3', 'pandas',"
        " 'polars', 'arco_flow.engine', 'arco_flow.http') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        ([], 2, "Usage: arco-flow"),
        (["rnu"], 2, "did you mean 'run'"),
        (["run"], 2, "Missing argument"),
        (["run", "x", "--partitoin", "y"], 2, "--partition"),
        (["run", "x", "--range", "2026-01-01"], 2, "START..END"),
        (["run", "x", "--tag", "nothing"], 2, "KEY=VALUE"),
        (["runs", "--limit", "0"], 2, "limit"),
        (["completion", "tcsh"], 2, "bash"),
        (["run", "x", "--timeout", "soon"], 2, "fix:"),
        (["status", "-C", "nowhere"], 1, "there is no folder 'nowhere'"),
        (["validate", "nowhere.py"], 1, "nowhere.py"),
        (["--version"], 0, ""),
    ],
)
def test_exit_codes_and_words(tmp_path: Path, args: list[str], code: int, said: str) -> None:
    done = run(tmp_path, *args, code=code)
    assert said in done.stderr
    if code and args:
        assert len(done.stderr.strip().splitlines()) <= 4, "what, where, how to mend"
        assert done.stdout == ""


def test_an_address_without_a_plane_is_exit_code_3(tmp_path: Path) -> None:
    done = run(tmp_path, "runs", code=3, ARCO_FLOW_URL="http://127.0.0.1:9")
    what, where, mend = done.stderr.splitlines()
    assert what.startswith("error: no plane answers at http://127.0.0.1:9")
    assert where == "  at ARCO_FLOW_URL"
    assert mend.startswith("  fix: ")
    assert run(tmp_path, "runs", code=1, ARCO_FLOW_URL="ftp://x").stdout == ""


def test_an_error_is_json_too_when_json_is_asked_for(tmp_path: Path) -> None:
    told = answer(tmp_path, "validate", "nowhere.py", code=1)
    assert told["error"]["reason"] == "NO_CODE_LOCATION"


def test_debug_shows_the_stack(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--debug", "validate", "nowhere.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert "Traceback" in done.stderr


def test_output_that_nobody_reads_to_its_end_is_no_error(tmp_path: Path) -> None:
    line = " ".join(COMMAND) + " completion bash | head -c 10"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(tmp_path: Path, shell: str) -> None:
    assert "_ARCO_FLOW_COMPLETE" in run(tmp_path, "completion", shell).stdout
    assert answer(tmp_path, "completion", shell)["shell"] == shell


def test_commands_and_options_are_completed(tmp_path: Path) -> None:
    def completed(words: str) -> str:
        env = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        return run(tmp_path, _ARCO_FLOW_COMPLETE="bash_complete", **env).stdout

    assert "plain,partitions" in completed("arco-flow part")
    assert "plain,--missing-only" in completed("arco-flow run --mis")
    assert "plain,delete" in completed("arco-flow partitions de")


def test_the_bash_script_is_bash(tmp_path: Path) -> None:
    script = tmp_path / "complete.bash"
    script.write_text(run(tmp_path, "completion", "bash").stdout)
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True).returncode == 0


def test_reports_say_what_where_and_how_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    error = InvalidInput("asset 'a' is wrong", where="assets.py:3", fix="mend it")
    assert failures.report(error) == 1
    assert (
        capsys.readouterr().err == "error: asset 'a' is wrong\n  at assets.py:3\n  fix: mend it\n"
    )
    assert failures.report(Unavailable("away")) == 3
    assert failures.report(KeyError("x\ny\nz")) == 1
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_errors_are_coloured_for_terminals_only(tmp_path: Path) -> None:
    assert "\x1b" not in run(tmp_path, "rnu", code=2).stderr


def test_settings_of_a_project_are_checked(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.arco-flow]\ntraget = "x.py"\n')
    done = run(tmp_path, "validate", code=1)
    assert "did you mean 'target'" in done.stderr
    (tmp_path / "pyproject.toml").write_text("[tool.arco-flow]\ntarget = 3\n")
    assert "is no text" in run(tmp_path, "validate", code=1).stderr
    (tmp_path / "pyproject.toml").write_text("[tool")
    assert "can not be read" in run(tmp_path, "validate", code=1).stderr


def test_what_code_prints_while_it_is_imported_does_not_mix_with_results(tmp_path: Path) -> None:
    (tmp_path / "assets.py").write_text(
        "from arco_flow import asset\nprint('loading')\n@asset\ndef a() -> int:\n    return 1\n"
    )
    done = run(tmp_path, "validate", "--json")
    assert json.loads(done.stdout)["assets"] == ["assets.a"]
    assert done.stderr == "loading\n"


def test_code_that_is_wrong_is_named_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "assets.py").write_text("from arco_flow import asset\n\ndef x(:\n")
    done = run(tmp_path, "validate", code=1)
    assert "assets.py:3" in done.stderr
    (tmp_path / "assets.py").write_text("import no_such_module\n")
    assert "no_such_module" in run(tmp_path, "validate", code=1).stderr


def test_validate_writes_the_manifest_where_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "assets.py").write_text(
        "from arco_flow import asset\n@asset\ndef a() -> int:\n    return 1\n"
    )
    told = answer(tmp_path, "validate", "--out", "manifest.json")
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    assert manifest["codeVersionId"] == told["codeVersionId"]


def test_init_writes_a_project_that_validates_and_whose_tests_pass(tmp_path: Path) -> None:
    told = answer(tmp_path, "init", "My Shop")
    folder = tmp_path / "My Shop"
    assert sorted(Path(path).name for path in told["files"]) == sorted(
        path.name for path in folder.iterdir()
    )
    assert 'name = "my-shop"' in (folder / "pyproject.toml").read_text()
    assert answer(folder, "validate")["assets"] == [
        "assets.budget",
        "assets.orders",
        "assets.report",
        "assets.revenue",
    ]
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert tested.returncode == 0, tested.stdout
    again = run(tmp_path, "init", "My Shop", code=1)
    assert "there already: " in again.stderr


def test_an_address_that_would_not_be_listened_on_is_refused() -> None:
    for option in ("--host=127.0.0.1", "--port=3000"):
        shown = CliRunner().invoke(cli, ["dev", "--emulated", option])
        assert shown.exit_code == 2
        assert f"{option.partition('=')[0]} is not for --emulated" in shown.output


def test_an_address_that_can_not_be_listened_on_is_told_with_what_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = run(tmp_path, "dev", "--port", port, code=1).stderr
    assert told == (
        f"error: 127.0.0.1:{port} can not be listened on (address already in use)\n"
        "  fix: choose another --port, or --port 0 for a free one\n"
    )
    told = run(tmp_path, "dev", "--host", "192.0.2.1", code=1).stderr
    assert "fix: choose an address of this machine, such as --host 127.0.0.1" in told
