"""The signer's settings file: every mistake with its line and its reason."""

from pathlib import Path

import pytest

from policies.reader import FileError
from signer.main import main
from signer.settings import Settings, read_settings

GOOD = """\
module = "/usr/lib/softhsm/libsofthsm2.so"
token = "kura"
pin_file = "/etc/kura/pin"
journal = "/var/lib/kura/journal"
socket = "/run/kura/socket"
peer_uid = 1001
"""


def read(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "signer.toml"
    path.write_text(text)
    return read_settings(path)


def test_settings_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, "# the signer\n" + GOOD) == Settings(
        module=Path("/usr/lib/softhsm/libsofthsm2.so"),
        token="kura",
        pin_file=Path("/etc/kura/pin"),
        journal=Path("/var/lib/kura/journal"),
        socket=Path("/run/kura/socket"),
        peer_uid=1001,
    )
    assert read(tmp_path, GOOD.replace("/etc/kura/pin", "")).pin_file is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"/usr/lib/softhsm/libsofthsm2.so"', '"softhsm.so"', "line 1: module: .*absolute path"),
        ('"kura"', '""', "line 2: token: must be text"),
        ('"/etc/kura/pin"', '"pin"', "line 3: pin_file: .*absolute path"),
        ('"/etc/kura/pin"', "false", "line 3: pin_file: must be text"),
        ('"/var/lib/kura/journal"', "7", "line 4: journal: must be text"),
        ('"/run/kura/socket"', '"@abstract"', "line 5: socket: .*absolute path"),
        ("1001", "-1", "line 6: peer_uid: .*number of a Unix user"),
        ("1001", '"relay"', "line 6: peer_uid: .*number of a Unix user"),
        ("1001", "true", "line 6: peer_uid: .*number of a Unix user"),
        ("1001", "1001\nlisten = 8080", "line 7: listen: is not known here"),
        ("1001", '1001\n[pin]\nvalue = "1234"', "line 7: pin: is not known here"),
        ("peer_uid = 1001\n", "", "line 1: peer_uid is missing"),
        ("1001", "1001\npeer_uid = 0", "line 7: is not TOML"),
        ("peer_uid =", "peer_uid", "line 6: is not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(FileError, match=words):
        read(tmp_path, GOOD.replace(old, new))


def test_settings_that_are_not_there_say_how_to_name_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(tmp_path / "none.toml"), "doctor"]) == 1
    said = f"{tmp_path}/none.toml: No such file or directory: name the settings: signer --config"
    assert said in capsys.readouterr().err
