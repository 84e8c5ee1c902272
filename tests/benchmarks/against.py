"""Is this tree slower than an earlier commit? Both are timed in turn, each in a process of its own, on this machine.

A baseline file is of one machine, and a runner of CI is a new one each time. So the earlier commit is checked out in a
temporary folder, and this tree's subjects are timed in both: a few pairs with the reference kernel there, a few pairs
here, and so on. What is compared is the median over these rounds of ratio here / ratio there.

The process of a tree reads `[name, pairs, warm]` a line and answers `{"ratio": …}` or `{"error": …}`.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from suite.errors import UserError
from tests.benchmarks import speed

ROOT = Path(__file__).resolve().parents[2]
OWN = Path("tests/benchmarks")
ROUNDS = 7
PAIRS = 3
"""Pairs of subject and kernel in each round and tree."""


def git(*words: str) -> bytes:
    """What git says of this repository.

    Raises:
        UserError: git's own line where it fails.
    """
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"git {' '.join(words)}: {done.stderr.decode().strip().splitlines()[-1:] or done.returncode}")
    return done.stdout


def base_of(ref: str) -> str:
    """The commit that HEAD and `ref` last had in common: what others did to `ref` since is no change of this tree's."""
    try:
        return git("merge-base", ref, "HEAD").decode().strip()
    except UserError as error:
        raise UserError(
            f"--against {ref}: no commit that HEAD shares with it ({error}); name a branch, a tag or a commit of this "
            "repository, and fetch it first (actions/checkout: fetch-depth: 0)"
        ) from error


def check_out(commit: str, folder: Path) -> None:
    """Write a commit's files into a folder; the repository's own work trees stay as they are."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit))) as archive:
        archive.extractall(folder, filter="data")


class Tree:
    """The process that times the subjects of one tree."""

    def __init__(self, folder: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-m", "tests.benchmarks.against"]
        self.process = subprocess.Popen(
            words, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.known: list[str] | None = self._answer()
        """Names of its subjects; None where they cannot be imported."""

    def _answer(self) -> object:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def ratio(self, name: str, *, warm: int = 1) -> float:
        """The subject's median time over the kernel's, of a few pairs.

        Raises:
            UserError: the subject fails in this tree.
        """
        assert self.process.stdin is not None
        print(json.dumps([name, PAIRS, warm]), file=self.process.stdin, flush=True)
        answer = self._answer()
        if not isinstance(answer, dict) or "ratio" not in answer:
            raise UserError(f"{answer['error'] if isinstance(answer, dict) else 'its process ended'}")
        return float(answer["ratio"])

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def trees(commit: str) -> Iterator[tuple[Tree, Tree, str]]:
    """(the tree of a commit, this one, a line where the earlier one is timed by its own subjects)."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        check_out(commit, folder)
        theirs = folder / OWN / "subjects.py"
        own = theirs.read_bytes() if theirs.exists() else None
        shutil.copytree(ROOT / OWN, folder / OWN, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        before, note = Tree(folder), ""
        stack.callback(before.close)
        if before.known is None and own is not None:
            theirs.write_bytes(own)
            before = Tree(folder)
            stack.callback(before.close)
            note = "this tree's subjects cannot be imported there: it is timed by its own"
        now = Tree(ROOT)
        stack.callback(now.close)
        yield before, now, note


def change(before: Tree, now: Tree, name: str) -> float:
    """Median over the rounds of the ratio now over the ratio before; which of the two comes first alternates."""
    changes = []
    for i in range(ROUNDS):
        pair = (before, now) if i % 2 == 0 else (now, before)
        ratios = {tree: tree.ratio(name, warm=speed.WARM if i == 0 else 1) for tree in pair}
        changes.append(ratios[now] / ratios[before])
    return statistics.median(changes)


def judge(ref: str, names: Iterable[str], say: Callable[[str], None]) -> bool:
    """Whether a subject is slower than at the commit that HEAD shares with `ref`; one line for each.

    Raises:
        UserError: no such commit; nothing could be compared.
    """
    commit = base_of(ref)
    red, compared = False, 0
    with trees(commit) as (before, now, note):
        if note:
            say(f"note: {commit[:9]}: {note}")
        for name in names:
            if name not in (before.known or ()):
                say(f"{name}: new since {commit[:9]}, nothing to compare with")
                continue
            try:
                times, slower = speed.twice(lambda name=name: change(before, now, name))  # type: ignore[misc]
            except UserError as error:
                say(f"{name}: not compared, {error}")
                continue
            say(f"{name}: {times:.2f} times its time at {commit[:9]}{' SLOWER' if slower else ''}")
            red, compared = red or slower, compared + 1
    if not compared:
        raise UserError(f"--against {ref}: nothing could be compared with {commit[:9]}; it has none of these subjects")
    return red


def serve(questions: Iterable[str], answers: IO[str]) -> None:
    """Time this tree's subjects as asked."""
    from tests.benchmarks.subjects import SUBJECTS

    def answer(content: object) -> None:
        print(json.dumps(content), file=answers, flush=True)

    made: dict[str, Callable[[], object]] = {}
    answer(list(SUBJECTS))
    for question in questions:
        name, pairs, warm = json.loads(question)
        try:
            if name not in made:
                made[name] = SUBJECTS[name]()
            answer({"ratio": speed.ratio(made[name], pairs, warm)})
        except Exception as error:  # a subject that this tree cannot run is said, and the others go on
            answer({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    serve(sys.stdin, stdout)
