"""Fixtures for every kind of test that needs a token or a database: real ones.

PostgreSQL is started once for each xdist worker that needs it.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from custody.dev.postgres import EmbeddedPostgres
from signer.hsm import Token
from tests.softhsm import SoftHsm, softhsm_token

_numbers = itertools.count()


@pytest.fixture
def softhsm(tmp_path: Path) -> Iterator[SoftHsm]:
    """An empty token of this test's own, initialised, not open."""
    with softhsm_token(tmp_path / "softhsm") as made:
        yield made


@pytest.fixture
def token(softhsm: SoftHsm) -> Token:
    """That token, open in this process."""
    return softhsm.open()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A running PostgreSQL; take `database` unless the test is about the server itself."""
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres") / "data") as server:
        yield server


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a fresh, empty database of this test's own, dropped after it."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres.dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield make_conninfo(postgres.dsn, dbname=name)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
