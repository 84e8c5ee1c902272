"""The command line: what it accepts, what it refuses with which line, and what it exits with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite import cli, registry, sources
from suite.commands import bench as bench_command
from suite.commands import run as run_command
from suite.commands.options import CellCommand, describe, field_options, peek
from suite.config import specs
from suite.errors import UserError
from suite.store import records
from suite.store.schema import plain

ROOT = Path(cli.__file__).resolve().parents[1]
Captured = pytest.CaptureFixture[str]

PLUGIN = '''"""A method of one's own: yields the prior once, or raises."""

from __future__ import annotations

from dataclasses import dataclass

from suite.config import setting
from suite.policy import Round


@dataclass(frozen=True)
class Config:
    fail: bool = setting(False)


def run(config: Config, prior, oracle, rng):
    if config.fail:
        raise RuntimeError("as it was told")
    yield Round(prior, {})
'''


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A reference to a plug-in baseline."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    return f"{tmp_path / 'mine.py'}:run"


def suite(*args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A command line in a process of its own, with the repository on the import path as if installed."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, "-m", "suite", *args]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def test_help_names_every_command_and_loads_no_torch() -> None:
    probe = "import sys; from suite.cli import main; main(['--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    for name, summary in cli.SUMMARIES.items():
        assert f"  {name} " in done.stdout
        assert summary in done.stdout


@pytest.mark.slow
def test_importing_suite_loads_no_torch() -> None:
    probe = "import sys, suite; suite.run, suite.bench, suite.Record; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_command_table(name: str) -> None:
    command = cli.group.get_command(None, name)  # type: ignore[arg-type]
    assert command.name == name
    assert command.help is not None
    assert list(cli.SUMMARIES) == list(cli.COMMANDS)


def test_list_as_json(capsys: Captured) -> None:
    assert cli.main(["list", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [task["id"] for task in content["tasks"]] == registry.ids("task")
    assert [b["id"] for b in content["baselines"]] == registry.ids("baseline")
    assert {b["id"] for b in content["baselines"] if b["control"]} == registry.controls()
    (lock,) = (task for task in content["tasks"] if task["id"] == "lock-v1")
    assert lock["base_rate"] == pytest.approx(1e-5)  # one of 100,000 codes
    assert (lock["estimator"], lock["space"], lock["extra"]) == ("exact", 100_000, None)


def test_measuring_a_task_of_a_users_own_keeps_the_facts_beside_it(tmp_path: Path, capsys: Captured) -> None:
    """4 of 64 codes, all as likely: base rate 1/16, and a tail like the rest."""
    path = Path(shutil.copy(Path(__file__).parents[1] / "plugins" / "toys.py", tmp_path))
    assert cli.main(["list", "--measure", f"{path}:Codes,{path}:Uncounted"]) == 0
    facts = json.loads((tmp_path / "measured.json").read_text())
    assert "6.25e-02  exact" in capsys.readouterr().out
    assert facts["toys.py:Codes"]["base_rate"] == pytest.approx(1 / 16)
    assert facts["toys.py:Codes"]["config"] == {"codes": 64, "successes": 4, "secret": 0}
    assert facts["toys.py:Codes"]["source_sha256"] == sources.sha256_of(path)
    assert facts["toys.py:Codes"]["tail_enrichment"] == pytest.approx(1.0)
    assert facts["toys.py:Codes"]["uniform_rate"] == pytest.approx(1 / 16)
    counted = facts["toys.py:Uncounted"]
    assert counted["uniform_rate"] == pytest.approx(1 / 16, abs=0.01)
    assert counted["estimator"] == "monte-carlo"
    assert counted["low"] < 1 / 16 < counted["high"]
    assert counted["tail_low"] < 1 < counted["tail_high"]


def test_a_task_is_guessable_where_uniform_strings_meet_a_hundred_successes(capsys: Captured) -> None:
    """Of 7,500: gaussian-v1 has 2 of 31 bins, 484; hypergrid-v1 11 of 4,096 cells, 20; lock-v1 one code of 100,000."""
    assert cli.main(["list", "gaussian-v1", "hypergrid-v1", "lock-v1"]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    lines = {words[0]: words for words in shown if words[0].endswith("-v1")}
    assert {name: words[5] for name, words in lines.items()} == {
        "gaussian-v1": "484*",
        "hypergrid-v1": "20",
        "lock-v1": "0.075",
    }


def test_too_few_held_out_samples_for_a_known_base_rate_are_a_warning(tmp_path: Path, capsys: Captured) -> None:
    """1/16 of 100 samples is about six successes, of 170 more than ten."""
    path = Path(shutil.copy(Path(__file__).parents[1] / "plugins" / "toys.py", tmp_path))
    command = ["--task", f"{path}:Uncounted", "--baseline", "uniform"]

    def warnings(heldout: int, *more: str) -> list[str]:
        assert run(*command, "--heldout", str(heldout), *more, results=tmp_path / "results") == 0
        return capsys.readouterr().err.splitlines()

    assert warnings(100, "--seed", "1") == []  # nothing is known of it yet
    assert cli.main(["list", "--measure", f"{path}:Uncounted"]) == 0
    capsys.readouterr()
    (line,) = warnings(100)
    assert line.startswith("warning: toys.py:Uncounted: of 100 held-out samples about 6.")
    assert warnings(100) == []  # it has a record
    assert warnings(170) == []
    assert warnings(100, "--task.codes", "32") == []  # another task than was measured
    grid = ["bench", "--tasks", f"{path}:Uncounted", "--baselines", "uniform,temperature", "--heldout", "100"]
    assert cli.main([*grid, "--seeds", "2", "--tracking", "off", "--results", str(tmp_path / "grid")]) == 0
    assert capsys.readouterr().err.count("warning: toys.py:Uncounted") == 1


def test_list_shows_what_is_named_with_its_fields(tmp_path: Path, mine: str, capsys: Captured) -> None:
    path = Path(shutil.copy(Path(__file__).parents[1] / "plugins" / "toys.py", tmp_path))
    assert cli.main(["list", f"{path}:Codes", f"{mine},banel", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    title = "A uniform prior over codes, `successes` of them drawn by the secret; success rates are exact."
    assert content["tasks"] == [{"id": f"{path}:Codes", "title": title}]
    assert [(one["id"], one["control"]) for one in content["baselines"]] == [(mine, False), ("banel", False)]
    assert cli.main(["list", "--measure", f"{path}:Codes"]) == 0
    capsys.readouterr()
    assert cli.main(["list", f"{path}:Codes"]) == 0
    said = capsys.readouterr().out
    assert "6.25e-02  exact" in said
    assert "--task.codes  [a whole number, at least 2; default 64]" in said
    assert "banel" not in said


@pytest.mark.parametrize(
    ("ref", "line"),
    [
        ("bnel", "suite: unknown task or baseline 'bnel'; did you mean 'banel'?"),
        ("no.py:X", "suite: task 'no.py:X': no file no.py"),
    ],
)
def test_list_says_what_is_not_there(ref: str, line: str, capsys: Captured) -> None:
    assert cli.main(["list", ref]) == 2
    assert capsys.readouterr().err.startswith(line)


def test_list_fits_a_narrow_terminal() -> None:
    done = suite("list")
    assert done.returncode == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    for kind in ("task", "baseline"):
        for ref in registry.ids(kind):
            assert f"\n{ref} " in done.stdout


def run(*args: str, results: Path) -> int:
    """`suite run` of the fast task with tracking off."""
    return cli.main(
        ["run", "--task", "gaussian-v1", "--budget", "500", "--results", str(results), "--tracking=off", *args]
    )


def test_run_writes_a_record_and_prints_where(tmp_path: Path, capsys: Captured) -> None:
    code = run("--baseline=banel", "--seed", "3", "--epochs=2", "--reset=True", "--task.sigma", "0.6", results=tmp_path)
    assert code == 0
    (record,), broken = records.scan(tmp_path)
    assert not broken
    assert (record.seed, record.status) == (3, "finished")
    assert record.identity.budget == 500
    assert record.identity.baseline.config["epochs"] == 2
    assert record.identity.baseline.config["reset"] is True
    assert record.identity.task.config == {"sigma": 0.6}
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("gaussian-v1 banel seed 3: success ")
    assert second == str(record.folder / "record.json")


def test_a_run_that_has_a_record_says_so(tmp_path: Path, capsys: Captured) -> None:
    """It printed the lines of the first run, with its seconds, as if it had run again."""
    command = ["--task", "gaussian-v1", "--baseline", "uniform"]
    assert run(*command, results=tmp_path) == 0
    first = capsys.readouterr().out.splitlines()
    assert run(*command, results=tmp_path) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{first[0]} (recorded before; --force runs it again)",
        first[1],
    ]
    assert run(*command, "--force", results=tmp_path) == 0
    assert "recorded before" not in capsys.readouterr().out


def test_quiet_prints_nothing(tmp_path: Path, mine: str, capsys: Captured) -> None:
    assert run("--baseline", mine, "--quiet", results=tmp_path) == 0
    assert capsys.readouterr() == ("", "")


def test_config_file_is_overruled_by_flags_and_its_tuning_is_kept(tmp_path: Path) -> None:
    tuning = {"study": "s", "nre": 100, "heldout": 10}
    (tmp_path / "c.json").write_text(
        json.dumps({"epochs": 3, "filter_factor": 2, "task": {"sigma": 0.7}, "tuning": tuning})
    )
    assert run("--baseline=banel", "--config", str(tmp_path / "c.json"), "--epochs=4", results=tmp_path) == 0
    (record,), _ = records.scan(tmp_path)
    assert record.identity.baseline.config["epochs"] == 4
    assert record.identity.baseline.config["filter_factor"] == 2.0
    assert record.identity.task.config == {"sigma": 0.7}
    assert plain(record.meta.tuning) == tuning


def test_a_failed_method_is_a_record_and_exit_code_1(tmp_path: Path, mine: str, capsys: Captured) -> None:
    assert run("--baseline", mine, "--fail=True", results=tmp_path) == 1
    (record,), _ = records.scan(tmp_path)
    assert record.status == "failed"
    assert "seed 0: FAILED, RuntimeError: as it was told at mine.py:18" in capsys.readouterr().out


BAD = [
    ("run --task gausian-v1 --baseline banel", "unknown task 'gausian-v1'; did you mean 'gaussian-v1'?"),
    ("run --task gaussian-v1 --baseline bannel", "unknown baseline 'bannel'; did you mean 'banel'?"),
    ("run --baseline banel", "--task is missing; `suite list`"),
    ("run --task gaussian-v1", "--baseline is missing; `suite list`"),
    ("run --task gaussian-v1 --baseline banel --epoch=3", "no option or field --epoch; did you mean '--epochs'?"),
    ("run --task gaussian-v1 --baseline banel --task.sigm=3", "did you mean '--task.sigma'?"),
    ("run --task gaussian-v1 --baseline banel --epochs", "--epochs"),
    (
        "run --task gaussian-v1 --baseline banel --epochs=0",
        "epochs=0: must be at least 1; the nearest valid value is 1",
    ),
    ("run --task gaussian-v1 --baseline banel --task.sigma=9", "the nearest valid value is 3"),
    ("run --task gaussian-v1 --baseline banel --budget=0", "budget=0: must be at least 1"),
    ("run --task gaussian-v1 --baseline banel --budget=10 --batch=20", "smaller than one batch of 20"),
    ("run --task gaussian-v1 --baseline banel --budget=many", "budget='many': expected a whole number"),
    ("run --task gaussian-v1 --baseline banel --seed=-1", "seed=-1: must be at least 0"),
    ("run --task gaussian-v1 --baseline banel --threads=0", "threads=0: must be at least 1"),
    ("run --task gaussian-v1 --baseline banel --protocol=none", "failures-only, failures-padded, all-rewards"),
    ("run --task gaussian-v1 --baseline banel --heldout=some", "exact, off, auto, a number"),
    ("run --task gaussian-v1 --baseline banel --tracking=loud", "'offline', 'online', 'off'"),
    ("run --task gaussian-v1 --baseline banel --device=tpu", "auto, cpu, cuda"),
    ("run --task gaussian-v1 --baseline banel --config=/no/file.json", "/no/file.json: No such file"),
    ("run --task gaussian-v1 --baseline /no/file.py:run", "no file /no/file.py"),
    ("bench --tasks gaussian-v1 --baselines banel --seeds=0", "--seeds 0"),
    ("bench --tasks gaussian-v1 --baselines banel --seeds=a,b", "--seeds a,b: give a number"),
    ("bench --tasks gaussian-v1 --baselines banel --jobs=0", "--jobs"),
    ("bench --tasks gaussian-v1 --baselines banel --executor local:0", "how many processes? a whole number from 1 on"),
    ("bench --tasks gaussian-v1 --baselines banel --executor local:two", "a whole number from 1 on, local:2"),
    ("bench --tasks gaussian-v1 --baselines banel --executor ssh://a", "possible: local:J, dask://HOST:PORT"),
    ("bench --tasks gaussian-v1 --baselines banel --executor dask://node7", "give host and port (1 to 65535)"),
    ("bench --tasks gaussian-v1 --baselines banel --executor dask://node7:http", "give host and port (1 to 65535)"),
    ("bench --tasks gaussian-v1 --baselines banel --executor dask://node7:99999", "give host and port (1 to 65535)"),
    (
        "bench --tasks gaussian-v1 --baselines banel --executor local:2 --jobs 2",
        "--executor local:2: give one",
    ),
    ("bench --tasks gaussian-v1 --baselines banel,bannel", "unknown baseline 'bannel'"),
    ("bench --tasks , --baselines banel", "--tasks is missing"),
    ("verify --results /no/such/folder", "/no/such/folder"),
    ("pretrain gaussian-v1", "nothing to pre-train; possible: addition-v1"),
    ("rnu", "no command 'rnu'; did you mean 'run'? possible: list, run, bench"),
    ("--helf", "--helf"),
]


@pytest.mark.parametrize(
    "line", ["run --task gaussian-v1 --baseline tail", "bench --tasks gaussian-v1 --baselines tail"]
)
def test_an_online_run_without_a_key_is_refused_before_it_starts(
    line: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.main([*line.split(), "--tracking", "online", "--results", str(tmp_path / "results")]) == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert "not logged in to W&B; run `wandb login`, or use --tracking offline" in message
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(("line", "message"), BAD, ids=[line for line, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(
    line: str, message: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("suite: ")
    assert message in err
    assert not list(tmp_path.iterdir()), "something was written"


@pytest.mark.parametrize("content", ["[1]", "{", '{"task": 3}', '{"tuning": 3}', '{"epoch": 3}', '{"task": {"x": 1}}'])
def test_bad_config_files(content: str, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "c.json"
    path.write_text(content)
    assert run("--baseline=banel", "--config", str(path), results=tmp_path / "results") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_results_folder_that_cannot_be_made(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "file").write_text("")
    assert run("--baseline=uniform", results=tmp_path / "file" / "results") == 2
    assert "choose another folder" in capsys.readouterr().err


def test_results_default_to_the_environment(tmp_path: Path, mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_RESULTS", str(tmp_path / "elsewhere"))
    assert cli.main(["run", "--task=gaussian-v1", f"--baseline={mine}", "--tracking=off", "--quiet"]) == 0
    assert len(records.scan(tmp_path / "elsewhere")[0]) == 1


@pytest.mark.parametrize(
    ("args", "value"),
    [
        (["--task", "a"], "a"),
        (["--task=a"], "a"),
        (["--task=a=b"], "a=b"),
        (["--tasks=a"], ""),
        (["--task.x=1"], ""),
        (["--task", "a", "--task=b"], "b"),
        (["--task"], ""),
    ],
)
def test_peek(args: list[str], value: str) -> None:
    assert peek(args, "--task") == value


@pytest.mark.parametrize("command", [run_command.command, bench_command.command], ids=["run", "bench"])
def test_no_registered_field_clashes_with_a_flag(command: CellCommand) -> None:
    options = field_options(registry.ids("task"), registry.ids("baseline"), command.static)
    names = [name for option in [*command.static, *options] for name in option.opts]
    assert len(names) == len(set(names))


def test_a_field_that_clashes_with_a_flag_is_refused(tmp_path: Path, mine: str) -> None:
    path = Path(mine.rpartition(":")[0])
    path.write_text(PLUGIN.replace("fail: bool = setting(False)", "budget: int = 3").replace("config.fail", "False"))
    with pytest.raises(UserError, match=r"its field 'budget' is taken by the flag --budget"):
        field_options([], [mine], run_command.command.static)


def test_field_help_says_what_is_accepted() -> None:
    (epochs,) = (s for s in specs(registry.load("baseline", "banel").config_class) if s.name == "epochs")
    assert describe(epochs).startswith(
        "Epochs of the failure model, E. [a whole number, at least 1; searched 1 to 100; "
    )


@pytest.mark.slow
def test_help_of_run_shows_the_fields_of_what_is_named() -> None:
    done = suite("run", "--task", "gaussian-v1", "--baseline", "banel", "--help")
    assert "--filter_factor" in done.stdout
    assert "--task.sigma" in done.stdout
    assert "--filter_factor" not in suite("run", "--help").stdout


def test_module_run_drops_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("raise SystemExit('the wrong file')\n")
    done = suite("list", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


# -- what text is written to -------------------------------------------------------------------------------------------


def shell(line: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell in which `suite` is this one."""
    prelude = f'suite() {{ "{sys.executable}" -m suite "$@"; }}\n'
    more = os.environ | {"PYTHONPATH": str(ROOT)} | env
    return subprocess.run(["sh", "-c", prelude + line], cwd=ROOT, env=more, capture_output=True, text=True, timeout=60)


def test_a_run_whose_stderr_is_closed_is_made(tmp_path: Path) -> None:
    """Some daemons and job runners start it so (`2>&-`): it failed before its first evaluation."""
    done = shell(
        f"suite run --task lock-v1 --baseline pretrained --budget 500 --tracking off --results {tmp_path} 2>&-"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.rglob("record.json"))) == 1


def test_the_number_of_a_closed_stream_is_not_that_of_a_file() -> None:
    """What a library prints into file 2 would go into the first file that was opened."""
    probe = "import os, sys; from suite.cli import mend_streams; mend_streams(); print(os.readlink('/proc/self/fd/2'))"
    done = shell(f'"{sys.executable}" -c "{probe}" 2>&-')
    assert done.stdout == "/dev/null\n"


def test_a_character_that_a_terminal_lacks_is_a_question_mark(tmp_path: Path, mine: str) -> None:
    done = shell(
        f"suite bench --tasks gaussian-v1 --baselines {mine} --seeds 1 --budget 50 --tracking off --results {tmp_path}",
        PYTHONIOENCODING="ascii",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("[1/1] gaussian-v1 mine.py:run seed 0: success 0.000107 (1? base)")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk_under_what_is_printed_is_one_line() -> None:
    done = shell("suite list > /dev/full")
    assert (done.returncode, done.stderr) == (1, "suite: cannot write what is printed: No space left on device\n")
