"""A marked block in a Markdown file that `suite report --readme` fills: table, pictures, commits."""

from __future__ import annotations

import os
from pathlib import Path

from suite.errors import UserError
from suite.store import disk

BEGIN, END = "<!-- leaderboard: made by `suite report --readme` -->", "<!-- leaderboard: end -->"


def read(path: Path) -> str:
    """The file, which must hold the two marks in their order, each once.

    Raises:
        UserError: no such file, or no such block in it.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise UserError(f"--readme {path}: {error.strerror or error}") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UserError(f"--readme {path}: mark the place once, with a line `{BEGIN}` and below it a line `{END}`")
    return text


def block(table: str, pictures: list[Path], made: str, *, beside: Path) -> str:
    """The block's content: the table as text, pictures linked from the folder of `beside`, the records' commits."""
    links = [f"![{path.stem}]({Path(os.path.relpath(path, beside.parent)).as_posix()})" for path in pictures]
    lines = [line.rstrip() for line in table.strip("\n").splitlines()]
    return "\n".join(["", "```text", *lines, "```", "", *links, "", f"Made by `suite report` from {made}.", ""])


def fill(path: Path, content: str) -> None:
    """Replace what stands between the marks."""
    text = read(path)
    head, rest = text.split(BEGIN)
    disk.write(path, f"{head}{BEGIN}\n{content}\n{END}{rest.split(END)[1]}")
