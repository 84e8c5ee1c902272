"""Storage URLs: what is said of one that cannot be used shows no password."""

from __future__ import annotations

import pytest

from suite.errors import UserError
from suite.search import study

SECRET = "s3cret"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:s3cret@host:port/db", "postgresql://me:***@host:port/db"),
        ("postgresql://me:s3c/s3cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:a@s3cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql//me:s3cret@host/db", "***@host/db"),
        ("me:s3cret@host", "***@host"),
        ("postgresql://host/db?user=me&password=s3cret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("sqlite:////folder/a@b.sqlite", "sqlite:////folder/a@b.sqlite"),
    ],
)
def test_a_password_is_hidden(url: str, shown: str) -> None:
    assert study._shown(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:s3cret@127.0.0.1:port/db",
        "postgresql://me:s3c/s3cret@127.0.0.1/db",
        "postgresql://me:a@s3cret@127.0.0.1/db",
        "postgresql//me:s3cret@127.0.0.1/db",
        "me:s3cret@127.0.0.1",
        "postgresql://127.0.0.1:1/db?user=me&password=s3cret",
        "postgresql://me:s3cret@127.0.0.1:1/db",
        "mysql://me:s3cret@127.0.0.1/db",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(UserError, match=r"^--storage ") as raised:
        study.connect(url)
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)
