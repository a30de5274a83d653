"""The settings of a development system outlive the next `make up`."""

from pathlib import Path

from custody.dev.layout import Layout, write_settings
from policies.statements import digest
from tests.factories import policy_file


def test_what_policy_pin_left_in_the_settings_stays(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_settings(layout)
    assert "policy_digest" not in layout.client("alice").read_text()
    layout.policy.write_bytes(policy_file())
    write_settings(layout)
    first, second = digest(policy_file()), "ab" * 32
    assert first in layout.client("alice").read_text()
    alice = layout.client("alice")
    alice.write_text(alice.read_text().replace(first, second))
    write_settings(layout)
    assert second in alice.read_text()
    assert first in layout.client("bob").read_text()
