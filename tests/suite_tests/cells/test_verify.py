"""`suite verify`: true of a good record, false of one that was tampered with, unknown where nothing can be said."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import suite
from suite import registry, sources
from suite.cells import checks, verify
from suite.cli import main
from suite.errors import UserError
from suite.store import ledger, records, schema
from suite.store.records import Record

OPTIONS: dict[str, Any] = {"budget": 100, "tracking": "off", "config": {"batch": 50, "pool": 400, "filter_factor": 2}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BaNEL with three seeds."""
    results = tmp_path_factory.mktemp("made")
    for seed in range(3):
        suite.run("gaussian-v1", "banel", seed=seed, results=results, **OPTIONS)
    return results


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


@pytest.fixture
def record(results: Path) -> Record:
    """The first seed that met no success."""
    found = sorted(records.scan(results)[0], key=lambda record: record.seed)
    return next(record for record in found if record.result.successes == 0)


def failed_checks(verdict: verify.Verdict) -> list[str]:
    return [check.name for check in verdict.checks if not check.ok]


def change_ledger(record: Record, statement: str, *values: object) -> None:
    db = sqlite3.connect(record.folder / "ledger.sqlite")
    assert db.execute(statement, values).rowcount == 1
    db.commit()
    db.close()


def change_result(record: Record, change: Callable[[dict[str, Any]], None]) -> Record:
    content = json.loads((record.folder / "record.json").read_text())
    change(content["result"])
    (record.folder / "record.json").write_text(json.dumps(content))
    return records.read(record.folder / "record.json")


def test_good_records_are_verified(results: Path) -> None:
    said: list[str] = []
    verdicts = verify.verify(results, say=said.append)
    assert [(v.task, v.baseline, v.verified) for v in verdicts] == [("gaussian-v1", "banel", True)] * 3
    assert sorted(v.seed for v in verdicts) == [0, 1, 2]
    assert sorted(said) == [f"gaussian-v1 banel seed {seed}: verified" for seed in range(3)]
    for record in records.scan(results)[0]:
        assert records.verified(record) is True
        written = json.loads((record.folder / "verify.json").read_text())
        assert [check["name"] for check in written["checks"]] == [
            "seconds",
            "base of the curve",
            "final of the curve",
            "best of the curve",
            "final improvement",
            "best improvement",
            "batches",
            "digests",
            "symbols",
            "charges",
            "budget",
            "nre",
            "successes",
            "withheld",
            "first success",
            "verifier's compute",
            "rounds of the curve",
            "evaluations of the curve",
            "intervals of the curve",
            "held-out evaluations",
            "rewards",
            "base success rate",
            "base measurements",
            "final success rate",
            "final measurements",
            "best success rate",
            "best measurements",
        ]
        assert set(written["hashes"]) == {
            "record.json",
            "ledger.sqlite",
            "policy-final.safetensors",
            "policy-best.safetensors",
        }


@pytest.mark.parametrize("points", ["all", "final"])
@pytest.mark.parametrize("heldout", ["500", "off", "exact"])
@pytest.mark.parametrize(
    ("baseline", "config"),
    [
        ("banel", {"batch": 50, "pool": 400, "algorithm": "filtering", "filter_factor": 1.2}),
        ("temperature", {}),
        ("pretrained", {"batch": 50}),
    ],
)
def test_every_kind_of_policy_is_verified(
    tmp_path: Path, heldout: str, points: str, baseline: str, config: dict[str, Any]
) -> None:
    options = OPTIONS | {"config": config, "heldout": heldout, "points": points}
    record = suite.run("gaussian-v1", baseline, results=tmp_path, **options)
    assert record.status == "finished"
    verdict = verify.verify_one(record)
    assert (verdict.verified, failed_checks(verdict)) == (True, [])
    names = [check.name for check in verdict.checks]
    assert ("final measurements" in names) == (heldout != "off")
    assert len(names) == len(set(names))


def test_a_reward_that_was_changed_in_the_ledger_is_found(record: Record) -> None:
    rewards = bytearray(50)
    rewards[7] = 1
    change_ledger(record, "UPDATE answers SET rewards = ? WHERE k = 1", bytes(rewards))
    verdict = verify.verify_one(record)
    assert verdict.verified is False
    assert {"rewards", "successes", "first success"} <= set(failed_checks(verdict))
    assert "1 of 100 answers differ when asked again" in [check.detail for check in verdict.checks]
    assert records.verified(record) is False


def test_a_sample_that_was_changed_in_the_ledger_is_found(record: Record) -> None:
    """A success (bin 5) in the place of a failure."""
    samples = torch.full((50, 1), 15)
    samples[3] = 5
    change_ledger(record, "UPDATE batches SET samples = ? WHERE k = 0", samples.numpy().tobytes())
    assert failed_checks(verify.verify_one(record)) == ["digests", "rewards"]


def test_a_failure_in_the_place_of_another_is_found(record: Record) -> None:
    """Its reward is right; what was charged was another one."""
    samples = torch.full((50, 1), 15)
    change_ledger(record, "UPDATE batches SET samples = ? WHERE k = 0", samples.numpy().tobytes())
    assert failed_checks(verify.verify_one(record)) == ["digests"]


@pytest.mark.parametrize("symbol", [-1, 31, 1 << 40])
def test_a_symbol_outside_of_the_vocabulary_is_found_and_not_shown_to_the_verifier(record: Record, symbol: int) -> None:
    """gaussian-v1 has the symbols 0 to 30."""
    samples = torch.full((50, 1), symbol)
    change_ledger(record, "UPDATE batches SET samples = ? WHERE k = 0", samples.numpy().tobytes())
    verdict = verify.verify_one(record)
    assert (verdict.verified, failed_checks(verdict)) == (False, ["digests", "symbols", "rewards"])
    assert "symbols outside of 0..30 in batch 0" in [check.detail for check in verdict.checks]


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("UPDATE batches SET charged = 0 WHERE k = 0", "charges"),
        ("UPDATE batches SET digest = x'00' WHERE k = 0", "digests"),
        ("UPDATE batches SET k = 7 WHERE k = 1", "batches"),
        ("UPDATE answers SET tokens = 3 WHERE k = 0", "verifier's compute"),
        ("UPDATE answers SET flops = 1e9 WHERE k = 0", "verifier's compute"),
    ],
)
def test_a_column_that_was_changed_in_the_ledger_is_found(record: Record, statement: str, check: str) -> None:
    change_ledger(record, statement)
    verdict = verify.verify_one(record)
    assert verdict.verified is False
    assert check in failed_checks(verdict)


def test_more_charges_than_the_budget_are_found(record: Record) -> None:
    change_ledger(
        record,
        "INSERT INTO batches SELECT 2, digest, samples, rows, length, priced, charged, charged_at "
        "FROM batches WHERE k = 0",
    )
    verdict = verify.verify_one(record)
    assert {"budget", "nre", "rewards"} <= set(failed_checks(verdict))  # 50 of them were never answered


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda result: result.update(nre=99), "nre"),
        (lambda result: result.update(successes=5), "successes"),
        (lambda result: result.update(first_success=12), "first success"),
        (
            lambda result: result["final"].update(success_rate=result["final"]["success_rate"] * 1.01),
            "final success rate",
        ),
        (lambda result: result["best"].update(success_rate=0.99), "best success rate"),
        (lambda result: result["base"].update(success_rate=1e-5), "base success rate"),
        (lambda result: result.update(improvement_final=1e3), "final improvement"),
        (lambda result: result["curve"][-1].update(success_rate=0.5), "final of the curve"),
        (lambda result: result.update(withheld=99), "withheld"),
        (lambda result: result.update(heldout_evaluations=0), "held-out evaluations"),
        (lambda result: result["compute"]["verifying"].update(tokens=7), "verifier's compute"),
        (lambda result: result["curve"][1].update(nre=1), "evaluations of the curve"),
        (lambda result: result["curve"][2].update(nre=0), "evaluations of the curve"),
        (lambda result: result["curve"][0].update(nre=50), "evaluations of the curve"),
        (lambda result: result["curve"][1].update(round=7), "rounds of the curve"),
        (lambda result: result["curve"][1].update(low=0.5, high=0.6), "intervals of the curve"),
        (lambda result: result["curve"][1].update(success_rate=1e-9), "intervals of the curve"),
        (lambda result: result["curve"][-1].update(entropy=9.0), "final measurements"),
        (lambda result: result["curve"][-1].update(kl_prior=0.0), "final measurements"),
        (lambda result: result["curve"][-1].update(distinct_successes=10_000), "final measurements"),
        (lambda result: result["curve"][-1].update(samples=["forged"] * 8), "final measurements"),
        (lambda result: result["curve"][0].update(entropy=9.0), "base measurements"),
    ],
)
def test_a_number_that_was_changed_in_the_record_is_found(
    record: Record, change: Callable[[dict[str, Any]], None], check: str
) -> None:
    verdict = verify.verify_one(change_result(record, change))
    assert verdict.verified is False
    assert check in failed_checks(verdict)


@pytest.mark.parametrize(
    ("hits", "change", "ok"),
    [
        (3, {}, True),  # 3 of 100, as it was counted
        (4, {}, False),  # other halves than the rate says
        (3, {"n": 200, "success_rate": 0.03}, False),
        (3, {"low": 0.0}, False),
    ],
)
def test_a_counted_point_is_held_against_its_halves(hits: int, change: dict[str, Any], ok: bool) -> None:
    """Clopper-Pearson's interval of 3 in 100 is 0.00623 to 0.08518 (R 4, binom.test(3, 100))."""
    point = schema.Point(
        0.03, 0.006229972, 0.08517605, "monte-carlo", 100, round=0, nre=0, stream=0, metrics={}, samples=[],
        distinct_successes=None, distinct_share=None, effective_successes=None, valid_share=None, entropy=None,
        kl_prior=None, halves=(hits - 1, 50, 1, 50),
    )  # fmt: skip
    assert checks.sound(msgspec.structs.replace(point, **change), "100") is ok


def test_without_saved_policies_there_is_no_verdict(record: Record) -> None:
    """A rate that nobody can measure again is neither verified nor refuted."""

    def forge(result: dict[str, Any]) -> None:
        final, best = result["curve"][-1], result["best"]
        for point in (final, result["final"], best):
            point.update(success_rate=0.99, low=0.99, high=0.99)
        best.update({name: final[name] for name in ("round", "nre", "stream", "posterior_match")})
        result["improvement_final"] = result["improvement_best"] = 0.99 / result["base"]["success_rate"]

    forged = change_result(record, forge)
    assert verify.verify_one(forged).verified is False
    content = json.loads((record.folder / "record.json").read_text())
    content["meta"]["policies"] = []
    (record.folder / "record.json").write_text(json.dumps(content))
    emptied = records.read(record.folder / "record.json")
    assert verify.verify_one(emptied).verified is False  # the files are still there
    for path in record.folder.glob("policy-*"):
        path.unlink()
    verdict = verify.verify_one(emptied)
    assert (verdict.verified, failed_checks(verdict)) == (None, ["policies"])
    assert verdict.checks[-1].detail == "the final and best policy was not saved: nothing to measure"
    assert records.verified(emptied) is None
    change_ledger(record, "UPDATE batches SET charged = 0 WHERE k = 0")
    assert verify.verify_one(emptied).verified is False  # what can be checked still is


def test_seconds_are_held_against_their_sum(record: Record) -> None:
    content = json.loads((record.folder / "record.json").read_text())
    content["meta"]["seconds"]["training"] = 1e6
    (record.folder / "record.json").write_text(json.dumps(content))
    assert failed_checks(verify.verify_one(records.read(record.folder / "record.json"))) == ["seconds"]


def test_a_policy_that_was_deleted_is_found(record: Record) -> None:
    (record.folder / "policy-final.safetensors").unlink()
    assert failed_checks(verify.verify_one(record)) == ["final success rate"]


def test_a_policy_that_was_changed_is_found(record: Record) -> None:
    path = record.folder / "policy-final.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata, logits = file.metadata(), file.get_tensor("logits")
    logits[0, 5] += 3  # bin 5 is a success
    save_file({"logits": logits}, path, metadata=metadata)
    assert failed_checks(verify.verify_one(record)) == ["final success rate", "final measurements"]


@pytest.mark.parametrize(
    ("name", "check"),
    [("ledger.sqlite", "ledger"), ("policy-final.safetensors", "final success rate")],
)
@pytest.mark.parametrize("broken", [b"", b"garbage " * 600])
def test_a_file_that_cannot_be_read_is_a_finding_not_a_crash(
    results: Path, record: Record, name: str, check: str, broken: bytes
) -> None:
    (record.folder / name).write_bytes(broken)
    verdicts = verify.verify(results)
    assert sorted(str(v.verified) for v in verdicts) == ["False", "True", "True"]
    (bad,) = [v for v in verdicts if not v.verified]
    assert bad.cell == record.cell
    assert check in failed_checks(bad) or (name == "ledger.sqlite" and not broken)  # an empty one is an empty ledger
    assert failed_checks(bad)


def test_a_ledger_that_is_not_there_is_found(record: Record) -> None:
    (record.folder / "ledger.sqlite").unlink()
    assert failed_checks(verify.verify_one(record)) == ["ledger"]


@pytest.mark.parametrize("name", ["record.json", "ledger.sqlite", "policy-best.safetensors"])
def test_what_changed_since_is_unknown_again(record: Record, name: str) -> None:
    verify.verify_one(record)
    assert records.verified(record) is True
    path = record.folder / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert records.verified(record) is None


def test_a_failed_run_is_neither_true_nor_false(tmp_path: Path, plugin: Callable[[str], str]) -> None:
    failed = suite.run("gaussian-v1", plugin("methods.py:failing"), results=tmp_path, **(OPTIONS | {"config": {}}))
    said: list[str] = []
    (verdict,) = verify.verify(tmp_path, say=said.append)
    assert (verdict.verified, verdict.checks) == (None, [])
    assert said == ["gaussian-v1 methods.py:failing seed 0: not checked"]
    assert records.verified(failed) is None


def test_a_task_that_is_not_here_is_unknown_and_the_others_are_checked(
    results: Path, tmp_path: Path, plugin: Callable[[str], str]
) -> None:
    path = shutil.copy(plugin("toys.py:Codes").rpartition(":")[0], tmp_path)
    suite.run(f"{path}:Codes", "pretrained", results=results, **(OPTIONS | {"config": {"batch": 50}}))
    Path(path).unlink()
    said: list[str] = []
    verdicts = verify.verify(results, say=said.append)
    assert [v.verified for v in verdicts if v.task == "gaussian-v1"] == [True] * 3
    (unknown,) = [v for v in verdicts if v.task == "toys.py:Codes"]
    assert unknown.verified is None
    outside = "toys.py:Codes pretrained seed 0: not checked; source: the task 'toys.py:Codes' is code outside"
    assert any(line.startswith(outside) for line in said)
    verify.verify(results, trust=True, say=said.append)
    assert any("toys.py:Codes pretrained seed 0: not checked; source:" in line and "no file" in line for line in said)


def test_a_broken_record_is_a_finding_of_its_own(results: Path, record: Record) -> None:
    (record.folder / "record.json").write_text("{")
    said: list[str] = []
    verdicts = verify.verify(results, say=said.append)
    assert sorted(str(v.verified) for v in verdicts) == ["False", "True", "True"]
    assert any("not a record" in line for line in said)


def test_nothing_to_verify_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no records in .*; make some with `suite bench`"):
        verify.verify(tmp_path)


# -- rerun ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("rerun", "expected"), [(1, 1), (2, 2), (9, 3)])
def test_reruns_are_equal(results: Path, rerun: int, expected: int) -> None:
    verdicts = verify.verify(results, rerun=rerun)
    assert [v.verified for v in verdicts] == [True] * 3
    assert sum("rerun" in [check.name for check in v.checks] for v in verdicts) == expected


def test_a_rerun_finds_what_the_other_checks_do_not(record: Record) -> None:
    changed = change_result(record, lambda result: result["compute"]["training"].update(flops=1.0))
    assert verify.verify_one(changed).verified is True
    verdict = verify.verify_one(changed, rerun=True)
    assert (verdict.verified, failed_checks(verdict)) == (False, ["rerun"])


def test_a_rerun_compares_the_ledgers(record: Record) -> None:
    """Another failure in the place of one, with its own digest: only the same run again knows what was drawn."""
    samples = torch.full((50, 1), 15)
    statement = "UPDATE batches SET samples = ?, digest = ? WHERE k = 1"
    change_ledger(record, statement, samples.numpy().tobytes(), ledger.digest(samples))
    assert verify.verify_one(record).verified is True
    verdict = verify.verify_one(record, rerun=True)
    assert (verdict.verified, failed_checks(verdict)) == (False, ["rerun"])
    assert verdict.checks[-1].detail == "batch 1 of the ledger differs"


def test_a_rerun_that_cannot_be_done_acquits_nobody(record: Record) -> None:
    """A tampered ledger stays found where the method changed too."""
    content = json.loads((record.folder / "record.json").read_text())
    content["identity"]["baseline"]["source_sha256"] = "0" * 64
    content["cell"] = records.cell_of(content["identity"])
    content["result"]["nre"] = 99
    (record.folder / "record.json").write_text(json.dumps(content))
    verdict = verify.verify_one(records.read(record.folder / "record.json"), rerun=True)
    assert (verdict.verified, failed_checks(verdict)) == (False, ["nre"])


def test_a_task_that_changed_since_is_not_judged(record: Record) -> None:
    content = json.loads((record.folder / "record.json").read_text())
    content["identity"]["task"]["source_sha256"] = "0" * 64
    content["cell"] = records.cell_of(content["identity"])
    (record.folder / "record.json").write_text(json.dumps(content))
    verdict = verify.verify_one(records.read(record.folder / "record.json"))
    assert verdict.verified is None
    assert "changed since" in verdict.checks[-1].detail


def test_a_rerun_of_changed_sources_says_nothing(record: Record) -> None:
    """As if the baseline's file had been edited since: the identity holds another hash, the cell another name."""
    content = json.loads((record.folder / "record.json").read_text())
    content["identity"]["baseline"]["source_sha256"] = "0" * 64
    content["cell"] = records.cell_of(content["identity"])
    (record.folder / "record.json").write_text(json.dumps(content))
    older = records.read(record.folder / "record.json")
    assert verify.verify_one(older).verified is True
    verdict = verify.verify_one(older, rerun=True)
    assert verdict.verified is True
    assert verdict.checks[-1].detail == "not done: the source of banel changed since; this is another baseline now"


# -- code that a record names ------------------------------------------------------------------------------------------

EVIL = """
from pathlib import Path
Path(__file__).with_name("RAN").write_text("")
from tasks.gaussian import Gaussian as Evil
"""


def named(record: Record, kind: str, ref: str, sha256: str) -> Record:
    """The record as if it were of another task or method."""
    content = json.loads((record.folder / "record.json").read_text())
    content["identity"][kind] |= {"id": ref, "source_sha256": sha256}
    content["cell"] = records.cell_of(content["identity"])
    (record.folder / "record.json").write_text(json.dumps(content))
    return records.read(record.folder / "record.json")


@pytest.mark.parametrize("kind", ["task", "baseline"])
@pytest.mark.parametrize("form", ["file", "module"])
def test_code_that_only_a_record_names_is_not_run(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, form: str
) -> None:
    """Neither without --trust, though its hash is right, nor with it where its hash is another."""
    package = tmp_path / f"theirs_{kind}"  # imported once in a process
    package.mkdir()
    for name in ("__init__.py", "evil.py"):
        (package / name).write_text(EVIL)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ref = f"{package.name}/evil.py:Evil" if form == "file" else f"{package.name}.evil:Evil"
    right = sources.sha256_of(package / "evil.py")
    verdict = verify.verify_one(named(record, kind, ref, right), rerun=True)
    assert kind == "baseline" or verdict.verified is None
    assert "verify with --trust" in verdict.checks[-1].detail
    verdict = verify.verify_one(named(record, kind, ref, "0" * 64), rerun=True, trust=True)
    assert kind == "baseline" or verdict.verified is None
    assert "changed since" in verdict.checks[-1].detail
    assert not (package / "RAN").exists()
    verify.verify_one(named(record, kind, ref, right), rerun=True, trust=True)
    assert (package / "RAN").exists()


def test_trusted_code_is_verified(
    tmp_path: Path, plugin: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(plugin("toys.py:Codes").rpartition(":")[0]).parent)
    record = suite.run("toys.py:Codes", "pretrained", results=tmp_path, **(OPTIONS | {"config": {"batch": 50}}))
    assert verify.verify_one(record).verified is None
    assert verify.verify_one(record, trust=True).verified is True


@pytest.fixture
def moved(tmp_path: Path, plugin: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a plug-in task in a folder of its own; the working directory is the one above."""
    (tmp_path / "plugins").mkdir()
    path = Path(shutil.copy(plugin("toys.py:Codes").rpartition(":")[0], tmp_path / "plugins" / "lock.py"))
    monkeypatch.chdir(tmp_path)
    return path


def test_a_plugin_is_found_where_it_was_run(moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any directory, and where the folder with results and plug-in was moved as a whole."""
    options = OPTIONS | {"config": {"batch": 50}}
    record = suite.run("plugins/lock.py:Codes", "pretrained", results=tmp_path / "results", **options)
    assert record.meta.files == {"task": "../../../plugins/lock.py"}
    monkeypatch.chdir(moved.parent)
    verdict = verify.verify_one(record, rerun=True, trust=True)
    assert (verdict.verified, failed_checks(verdict)) == (True, [])
    assert verdict.checks[-1] == checks.Check("rerun", True, "equal")
    shutil.copytree(tmp_path, tmp_path.with_name("elsewhere"))
    monkeypatch.chdir("/")
    (verdict,) = verify.verify(tmp_path.with_name("elsewhere") / "results", trust=True)
    assert verdict.verified is True


def test_nothing_checked_is_no_success(moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside a record that is checked, one whose plug-in is gone is only counted."""
    suite.run("plugins/lock.py:Codes", "pretrained", results="results", **(OPTIONS | {"config": {"batch": 50}}))
    moved.unlink()
    command = ["verify", "--trust", "--results", str(tmp_path / "results")]
    assert main(command) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 records, 0 of them wrong, 1 not checked"
    suite.run("gaussian-v1", "pretrained", results="results", **(OPTIONS | {"config": {"batch": 50}}))
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 records, 0 of them wrong, 1 not checked"


def test_a_source_is_located_without_running_it() -> None:
    assert registry.locate("task", "gaussian-v1").parts[-2:] == ("tasks", "gaussian.py")
    assert registry.locate("task", "addition-v1").parts[-2:] == ("addition", "task.py")
    for ref in ("nowhere.at.all:X", "nowhere.py:X", "gaussian-v99", ":X"):
        with pytest.raises(UserError):
            registry.locate("task", ref)
