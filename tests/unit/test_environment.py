"""Variables over the file: they win, they are typed, and the wrong ones refuse to start."""

from pathlib import Path

import pytest

from custody.client_config import ConfigError
from custody.environment import VariableError, read_with_environment
from custody.settings import api_settings, read_settings
from policies.reader import FileError, Table

FILE = 'listen = "a:1"\n\n[fee]\nunit_price = 5\n'


def number(value: object) -> int:
    if type(value) is not int:
        raise ValueError("must be a whole number")
    return value


def read(root: Table) -> tuple[str, int]:
    fee = root.table("fee")
    found = (root.value("listen", str), fee.value("unit_price", number))
    fee.done()
    return found


def settings(text: str = FILE, **variables: str) -> tuple[str, int]:
    return read_with_environment(text, "api", variables, read)


def test_without_variables_the_file_stands() -> None:
    assert settings(KURA_WORKER_LISTEN="b:2", PATH="/bin", KURA_APIS_X="1") == ("a:1", 5)


def test_variables_stand_above_the_file() -> None:
    assert settings(KURA_API_LISTEN="b:2", KURA_API_FEE_UNIT_PRICE="7") == ("b:2", 7)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("KURA_API_LISEN", "b:2", "KURA_API_LISEN: is not known here"),
        ("KURA_API_FEE_TIP", "1", "KURA_API_FEE_TIP: is not known here"),
        ("KURA_API_FEE_UNIT_PRICE", "much", "KURA_API_FEE_UNIT_PRICE: must be a whole number"),
        ("KURA_API_FEE", "1", "KURA_API_FEE: must be a table"),
    ],
)
def test_a_wrong_variable_is_named_with_the_reason(variable: str, value: str, words: str) -> None:
    with pytest.raises(VariableError, match=words):
        settings(**{variable: value})


def test_a_wrong_line_of_the_file_is_still_named_beside_variables() -> None:
    with pytest.raises(FileError, match=r"line 4: fee.unit_price: must be a whole number"):
        settings(FILE.replace("= 5", '= "5"'), KURA_API_LISTEN="b:2")


def test_a_table_that_the_file_leaves_out_can_come_from_variables() -> None:
    text = FILE.replace("[fee]\nunit_price = 5\n", "")
    assert settings(text, KURA_API_FEE_UNIT_PRICE="7") == ("a:1", 7)


@pytest.mark.parametrize("listen", ["127.0.0.1:99999", "127.0.0.1", ":1", "127.0.0.1:²"])
def test_no_port_is_guessed(listen: str) -> None:
    with pytest.raises(VariableError, match=r"KURA_API_LISTEN: must be host:port"):
        read_with_environment(
            'listen = "a:1"', "api", {"KURA_API_LISTEN": listen}, lambda r: api_settings(r, Path())
        )


@pytest.mark.parametrize(
    "dsn",
    ["user=x password=correct hunter2", "postgresql://u:hunter2@[bad", "postgresql://u:%zz@h"],
)
def test_a_database_address_that_is_none_is_not_quoted(dsn: str, tmp_path: Path) -> None:
    file = tmp_path / "api.toml"
    file.write_text(f'listen = "a:1"\ndatabase = "{dsn}"\nnode = "b"\n')
    with pytest.raises(ConfigError) as caught:
        read_settings(file, "api", api_settings)
    assert str(caught.value).endswith("line 2: database: is no PostgreSQL connection string")
    assert caught.value.__suppress_context__ or "hunter2" not in str(caught.value.__context__)
