"""A verifier behind HTTP that fails, stalls, dies and comes back: every evaluation is charged once and done once."""

from __future__ import annotations

import base64
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import suite
from suite import cli
from suite.cells.verify import verify
from suite.errors import Unavailable, UserError, VerifierError
from suite.store.ledger import Ledger
from suite.store.records import Record, canonical
from suite.task import verified
from suite.verifiers import Http

TASK = """
import torch
from dataclasses import dataclass
from suite.generators import Table
from suite.verifiers import Http

@dataclass(frozen=True)
class Config:
    pass

class Lock:
    config: Config
    cost = (0.5, "USD")
    verify = Http(name="lab", batch=4, timeout=0.2, retries=2, pause=0.001)

    def __init__(self, config):
        self.config = config

    def prior(self):
        return Table(torch.zeros(1000))

    def show(self, x):
        return [str(code) for code in x[:, 0].tolist()]

    def verify_heldout(self, x):
        return x[:, 0] == 7

    def success_log_probs(self, policy):
        return policy.log_prob(torch.tensor([[7]]))
"""
OPTIONS: dict[str, Any] = {"budget": 200, "config": {"batch": 50, "pool": 100}, "tracking": "off"}
Open = Callable[..., Any]


@pytest.fixture
def task(tmp_path: Path) -> str:
    (tmp_path / "lock.py").write_text(TASK)
    return f"{tmp_path / 'lock.py'}:Lock"


def run(task: str, results: Path, **options: Any) -> Record:
    return suite.run(task, "banel", results=results, **OPTIONS | options)


def closed_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.slow
def test_a_service_that_fails_stalls_and_is_restarted_costs_what_a_healthy_one_does(
    task: str, open_lab: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = open_lab()
    monkeypatch.setenv("SUITE_LAB_URL", healthy.url)
    calm = run(task, tmp_path / "calm")
    assert calm.status == "finished"
    assert sum(healthy.evaluated.values()) == 52  # four batches of 50 by 4: 13 requests each

    ill: dict[str, Any] = {"failing": 0.3, "stalling": 0.1, "stall": 0.4}
    lab = open_lab(0, tmp_path / "answers.json", dies_after=20, **ill)
    evaluated, interruptions = Counter(lab.evaluated), 0
    while True:
        monkeypatch.setenv("SUITE_LAB_URL", lab.url)
        try:
            disturbed = run(task, tmp_path / "disturbed")
            break
        except Unavailable:
            interruptions += 1
            if lab.killed:
                evaluated += lab.evaluated
                lab = open_lab(0, tmp_path / "answers.json", **ill)  # another address: no part of the cell's name
    evaluated += lab.evaluated
    assert interruptions > 0
    assert canonical(disturbed.result) == canonical(calm.result)
    assert disturbed.result.nre == 200
    assert evaluated == healthy.evaluated  # the same requests, each done once
    assert set(evaluated.values()) == {1}
    ledger = Ledger(disturbed.folder / "ledger.sqlite")
    noted = [attempt for _, attempt in ledger.attempts()]
    batches = {k for k, _ in ledger.attempts()}
    ledger.close()
    assert batches == {0, 1, 2, 3}
    answered = [attempt.request for attempt in noted if attempt.error is None]
    assert sorted(answered) == sorted(key[:16] for key in evaluated)  # each answered once
    assert any(attempt.error == "HTTP 500" for attempt in noted)
    assert any("timed out" in (attempt.error or "") for attempt in noted)
    assert max(attempt.number for attempt in noted) > 1


def test_a_service_that_is_down_ends_the_run_with_75_and_one_line(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], open_lab: Open
) -> None:
    url = f"http://user:secret@127.0.0.1:{closed_port()}/verify?token=secret"
    monkeypatch.setenv("SUITE_LAB_URL", url)
    monkeypatch.setenv("SUITE_LAB_RETRIES", "1")
    words = ["run", "--task", task, "--baseline", "pretrained", "--batch", "50", "--budget", "50", "--tracking", "off"]
    words += ["--quiet", "--results", str(tmp_path / "results")]
    assert cli.main(words) == 75
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "is not reachable after 2 attempts" in said
    assert "the same command goes on from here" in said
    assert "secret" not in said
    lab = open_lab()
    monkeypatch.setenv("SUITE_LAB_URL", lab.url)
    monkeypatch.setenv("SUITE_LAB_TIMEOUT", "5")
    assert cli.main(words) == 0  # another address, another timeout: the same cell, and no other charge
    (ledger,) = (tmp_path / "results").glob("cells/*/ledger.sqlite")
    book = Ledger(ledger)
    assert book.nre == 50
    book.close()


def test_verify_calls_a_record_whose_service_is_down_not_reachable(
    task: str, open_lab: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = open_lab()
    monkeypatch.setenv("SUITE_LAB_URL", lab.url)
    suite.run(task, "pretrained", results=tmp_path, config={"batch": 50}, budget=50, tracking="off")
    (verdict,) = verify(tmp_path, trust=True)
    assert verdict.verified is True
    lab.kill()
    (verdict,) = verify(tmp_path, trust=True)
    assert verdict.verified is None
    assert [check.detail[:13] for check in verdict.checks if not check.ok] == ["not reachable"]


def test_what_was_answered_before_the_service_died_is_kept(
    task: str, open_lab: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = open_lab(dies_after=6)
    monkeypatch.setenv("SUITE_LAB_URL", lab.url)
    monkeypatch.setenv("SUITE_LAB_CONCURRENCY", "1")
    with pytest.raises(Unavailable):
        run(task, tmp_path / "results")
    (path,) = (tmp_path / "results").glob("cells/*/ledger.sqlite")
    ledger = Ledger(path)
    (batch,) = ledger.batches()
    attempts = ledger.attempts()
    ledger.close()
    assert batch.slices is not None
    assert len(batch.slices[0]) == 4 * 5  # the sixth request was accepted, its answer never sent
    assert [attempt.error is None for _, attempt in attempts] == [True] * 5 + [False] * 3


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([1, 0], "must answer 3 questions with a list of 3, each 0 or 1, got 2 answers"),
        ({"answers": []}, "got dict"),
        ([1, 0, 0.5], "must answer 0 or 1, or null where it does not know yet, got 0.5 for '[9]'"),
        ([1, 0, "yes"], "got 'yes' for '[9]'"),
    ],
)
def test_an_answer_of_another_kind_is_the_services_fault(open_lab: Open, answer: Any, message: str) -> None:
    lab = open_lab()
    lab.answer = lambda key, questions: answer
    with pytest.raises(VerifierError, match=r"^http://127.0.0.1:\d+/verify must answer") as caught:
        verified(Http(lab.url), torch.tensor([[7], [8], [9]]))
    assert message in str(caught.value)


def test_a_request_that_is_refused_is_not_made_again(open_lab: Open) -> None:
    lab = open_lab()
    lab.refusing = True
    with pytest.raises(VerifierError, match="answered HTTP 403"):
        verified(Http(lab.url, batch=1, concurrency=1), torch.tensor([[7], [8]]))
    assert lab.refused == 1


def test_answers_that_come_later_are_waited_for_and_the_others_kept(open_lab: Open) -> None:
    lab = open_lab()
    lab.answer = lambda key, questions: [None if question == [8] else 1 for question in questions]
    parts = Http(lab.url)(torch.tensor([[7], [8], [9]]))
    first = next(parts)
    assert (first.places.tolist(), first.rewards.tolist()) == ([0, 2], [True, True])
    with pytest.raises(Unavailable, match="has not answered 1 questions yet"):
        next(parts)


def test_connections_are_kept(open_lab: Open) -> None:
    lab = open_lab()
    http = Http(lab.url, batch=1, concurrency=2)
    for _ in range(3):
        assert verified(http, torch.tensor([[7], [8], [7], [9]])).tolist() == [True, False, True, False]
    assert lab.connections <= 2


def test_a_login_in_the_address_is_sent_and_not_shown(open_lab: Open) -> None:
    lab = open_lab()
    http = Http(lab.url.replace("://", "://lab%40home:se:cret@"))
    assert verified(http, torch.tensor([[7]])).tolist() == [True]
    assert lab.logins == {"Basic " + base64.b64encode(b"lab@home:se:cret").decode()}
    assert http.place == lab.url


def test_an_address_that_is_none_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="set SUITE_VERIFIER_URL"):
        verified(Http("localhost:8000"), torch.tensor([[7]]))
    monkeypatch.setenv("SUITE_VERIFIER_TIMEOUT", "soon")
    with pytest.raises(UserError, match="SUITE_VERIFIER_TIMEOUT='soon' is no number"):
        verified(Http("http://localhost:8000"), torch.tensor([[7]]))
