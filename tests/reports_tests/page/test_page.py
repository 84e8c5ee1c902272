"""leaderboard.html in a real browser: it sorts, filters, opens a run, and asks the network for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from reports import page
from reports.board import leaderboard
from reports.figures import Drawn
from reports.page import runs
from reports.report import Report
from suite.store import records

NASTY = "<script>alert(1)</script> a|b\nnext \\textbf{x} $y_1$"
"""A sample that must appear as text."""


def written(results: Any, path: Path) -> Path:
    found = records.scan(results.folder)[0]
    path.write_text(
        page.render(Report(found, leaderboard.rows(found), [], ["a <b>note</b>"], "2 records of commit abc"))
    )
    return path


@pytest.fixture
def shown(results: Any, tmp_path: Path) -> Path:
    """Two methods and a control on one task; the samples are NASTY."""
    for name, rate in (("banel", 0.1), ("rnd", 0.002), ("tail", 0.01)):
        record = results.add(name, rates=(4e-4, rate))
        content = json.loads((record.folder / "record.json").read_text())
        content["result"]["curve"][1]["samples"] = [NASTY]
        content["identity"]["task"]["config"] = {}
        (record.folder / "record.json").write_text(json.dumps(content))
    return written(results, tmp_path / "leaderboard.html")


@pytest.fixture
def browse(need: Callable[[str, str], Path]) -> Iterator[Callable[..., Any]]:
    """Open a file; requests other than the file's own, console errors and dialogs fail the test at its end."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # milliseconds: who else works here may be many
    chromium = need("/usr/bin/chromium", "chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(chromium), args=["--no-sandbox"])
        wrong: list[str] = []

        def open_page(path: Path, *, width: int = 1200, scheme: str = "light") -> Any:
            context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
            tab = context.new_page()
            tab.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else wrong.append(r.url))
            tab.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
            tab.on("pageerror", lambda error: wrong.append(str(error)))
            tab.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
            tab.goto(path.as_uri())
            tab.wait_for_selector("#runs-table tbody button.open")
            return tab

        yield open_page
        browser.close()
    assert wrong == []


def column(tab: Any, table: str, place: int) -> Any:
    """The cells of a column; a table is drawn some time after it was asked for, so wait with `expect`."""
    return tab.locator(f"#{table} tbody tr td:nth-child({place + 1})")


def heads(tab: Any, table: str) -> list[str]:
    return [
        text.strip()
        for text in tab.locator(f"#{table}_wrapper .dt-scroll-head thead tr:first-child th").all_inner_texts()
    ]


@pytest.mark.server
def test_sorts_by_number_and_filters_by_words(shown: Path, browse: Callable[..., Any]) -> None:
    from playwright.sync_api import expect

    tab = browse(shown)
    names = heads(tab, "rows-0-0")
    assert names[:2] == ["method", "rank"]
    middle = names.index("final, median [95 %]")
    head = tab.locator("#rows-0-0_wrapper .dt-scroll-head thead tr:first-child th").nth(middle)
    for order in (["0.002", "0.01", "0.1"], ["0.1", "0.01", "0.002"]):
        head.click()
        expect(column(tab, "rows-0-0", middle)).to_have_text(order)
    tab.locator("#rows-0-0_wrapper input[type=search]").fill("rnd")
    expect(column(tab, "rows-0-0", 0)).to_have_text(["rnd"])
    tab.locator("#runs-table_wrapper input[type=search]").fill("tail")
    expect(column(tab, "runs-table", 1)).to_have_text(["tail"])


@pytest.mark.server
def test_numbers_of_all_kinds_sort_by_value(results: Any, tmp_path: Path, browse: Callable[..., Any]) -> None:
    """As words, 2.0e-5 would come after 0.1, and `< 3.7e-4` (no success in 10,000) before all digits."""
    from playwright.sync_api import expect

    for seed, (hits, n) in enumerate([(1000, 10000), (2, 100000), (0, 10000), (30, 10000)]):
        results.add(seed=seed, rates=(1e-3, hits / n), n=n, best=0.5)
    tab = browse(written(results, tmp_path / "page.html"))
    head = tab.locator("#runs-table_wrapper .dt-scroll-head thead tr:first-child th").nth(3)
    head.click()
    expect(column(tab, "runs-table", 3)).to_have_text(["2.0e-5", "< 3.7e-4", "0.003", "0.1"])


@pytest.mark.server
def test_a_run_opens_by_keyboard_with_curve_samples_and_provenance(shown: Path, browse: Callable[..., Any]) -> None:
    tab = browse(shown)
    tab.locator("#runs-table button.open").first.focus()
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#details[open] svg polyline")
    text = tab.locator("#details").inner_text()
    assert "addition-v1 · banel · seed 0" in text
    assert "evaluations charged\n1000" in text
    assert "commit\nunknown" in text
    assert NASTY in tab.locator("#details pre").all_text_contents()
    tab.keyboard.press("Escape")
    assert not tab.locator("#details").is_visible()


@pytest.mark.server
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_and_the_switch(shown: Path, browse: Callable[..., Any], scheme: str) -> None:
    tab = browse(shown, scheme=scheme)
    theme = "document.documentElement.dataset.theme"
    assert tab.evaluate(theme) == scheme
    tab.click("#theme")
    assert tab.evaluate(theme) != scheme


@pytest.mark.server
def test_a_phone_scrolls_tables_and_not_the_page(shown: Path, browse: Callable[..., Any]) -> None:
    tab = browse(shown, width=390)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.server
@pytest.mark.slow
def test_ten_thousand_runs_open_in_three_seconds(results: Any, tmp_path: Path, browse: Callable[..., Any]) -> None:
    path = written_many(results, tmp_path / "page.html", 10_000)
    assert path.stat().st_size <= 5_000_000
    tab = browse(path)
    session = tab.context.new_cdp_session(tab)
    session.send("Performance.enable")
    spent = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    assert spent["ProcessTime"] <= 3  # of the processor: seconds on the wall depend on who else works here
    tab.locator("#runs-table button.open").first.click()
    tab.wait_for_selector("#details[open] svg polyline")
    assert "The record holds none: images are drawn" in tab.locator("#details").inner_text()


def written_many(results: Any, path: Path, n: int) -> Path:
    """A page of n runs of 30 points over 10 methods, made from one record in memory."""
    import dataclasses
    import random

    from msgspec.structs import replace

    random.seed(1)
    rates = [random.uniform(1e-4, 1) for _ in range(30)]
    model = results.add(rates=rates, n=10_000)
    found = []
    for i in range(n):
        baseline = replace(model.identity.baseline, id=f"m{i % 10}")
        identity = replace(model.identity, seed=i // 10, baseline=baseline)
        curve = [
            replace(point, success_rate=(rate := random.random()), low=rate / 2, high=rate)
            for point in model.result.curve
        ]
        result = replace(model.result, curve=curve)
        found.append(dataclasses.replace(model, cell=f"cell{i}", identity=identity, result=result))
    path.write_text(page.render(Report(found, leaderboard.rows(found))))
    return path


def test_no_markup_of_a_record_is_markup_of_the_page(shown: Path) -> None:
    html = shown.read_text()
    assert "alert(1)" not in html  # samples are packed, and set as text by the script
    assert "a &lt;b&gt;note&lt;/b&gt;" in html


def test_names_are_escaped_everywhere(results: Any, tmp_path: Path) -> None:
    results.add("<script>alert(2)</script>", task="<img src=x onerror=alert(3)>")
    html = written(results, tmp_path / "page.html").read_text()
    assert "<script>alert(2)" not in html
    assert "<img src=x" not in html


def test_images_keep_their_colours_in_the_dark(results: Any) -> None:
    """A dark page turns figures into their negatives, which a gallery of images would not survive."""
    results.add()
    found = records.scan(results.folder)[0]
    plot, image = Figure(), Figure()
    plot.subplots().plot([1, 2])
    image.subplots().imshow([[0.0, 1.0]])
    drawn = [Drawn.of(figure, name) for name, figure in {"curves": plot, "samples": image}.items()]
    html = page.render(Report(found, leaderboard.rows(found), drawn))
    assert 'class="picture" role="img" tabindex="0" aria-label="curves"' in html
    assert 'class="picture photo" role="img" tabindex="0" aria-label="samples"' in html


def test_runs_beyond_the_limit_are_left_out_typical_ones_last(results: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five seeds the median final rate is seed 3's; it is kept where there is room for one group only."""
    for seed, rate in enumerate((0.5, 0.1, 0.2, 0.3, 0.4)):
        results.add(seed=seed, rates=(4e-4, rate))
    found = sorted(records.scan(results.folder)[0], key=lambda record: record.seed)
    monkeypatch.setattr(runs, "GROUP", 1)
    one = len(runs.pack(found, leaderboard.rows(found)).groups[0])
    monkeypatch.setattr(runs, "MOST_BYTES", one + 10)
    packed = runs.pack(found, leaderboard.rows(found))
    assert (packed.kept, packed.total) == (1, 5)
    assert packed.where == [-1, -1, -1, 0, -1]


def test_headline_says_when_there_is_no_evidence(results: Any, tmp_path: Path) -> None:
    for seed in range(8):
        results.add(seed=seed, rates=(4e-4, 0.01 * (1 + seed % 2)))
        results.add("tail", seed=seed, rates=(4e-4, 0.01 * (1 + seed // 4)))
    html = written(results, tmp_path / "page.html").read_text()
    assert "there is no evidence that its evaluations bought anything" in html
