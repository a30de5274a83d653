"""`custody status`: every fact of the queue, the signers, the wallets and the nodes, then words."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from custody.views import timestamp
from kura.custody.v1 import custody_pb2 as wire
from tests.memory_custody import MemoryCustody

Run = Callable[..., tuple[int, str, str]]
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def busy() -> wire.GetStatusResponse:
    books = wire.Balance(
        wallet="wallets/hot-sol", asset="SOL", total="2500000000", available="2000000000"
    )
    return wire.GetStatusResponse(
        queue=[
            wire.QueueStatus(
                state=wire.WITHDRAWAL_STATE_QUEUED,
                waiting_for="FUNDS",
                count=3,
                oldest_create_time=timestamp(NOW - timedelta(hours=2)),
            )
        ],
        signers=[
            wire.SignerStatus(
                audit_key="ab" * 32,
                seen_time=timestamp(NOW - timedelta(seconds=7)),
                policy_version="4",
                policy_digest="cd" * 32,
                book_version="9",
            )
        ],
        wallets=[wire.WalletStatus(balance=books, nonces=8, nonces_free=5)],
        nodes=[
            wire.NodeStatus(
                network="solana:devnet", block_time=timestamp(NOW - timedelta(seconds=90))
            ),
            wire.NodeStatus(network="solana:other", problem="the node is unreachable"),
        ],
        next_actions=["refill the wallet"],
        now=timestamp(NOW),
    )


def words(text: str) -> str:
    return " ".join(text.split())


def test_everything_is_shown_and_what_to_do_comes_last(
    run: Run, custody: MemoryCustody, alice: Path
) -> None:
    custody.status = busy()
    code, out, _ = run("--config", alice, "status")
    assert code == 1
    for fact in (
        "QUEUED FUNDS 3 2:00:00 ago",
        f"signer {'ab' * 32} last contact 0:00:07 ago",
        f"policy version 4, {'cd' * 32}",
        "address book version 9",
        "wallet hot-sol holds 2.5 SOL, of which 2 SOL is free nonces 5 of 8 free",
        "node solana:devnet newest block 0:01:30 ago",
        "node solana:other newest block the node is unreachable",
    ):
        assert fact in words(out)
    assert words(out).endswith("next refill the wallet")


def test_a_signers_lease_and_freezes_are_shown(
    run: Run, custody: MemoryCustody, alice: Path
) -> None:
    freeze = wire.Freeze(wallet="*", person="bob", create_time=timestamp(NOW))
    leased = NOW + timedelta(seconds=42)
    for lease, words_of_it in (
        (leased, "lease for 42 s more"),
        (NOW - timedelta(seconds=1), "lease over at"),
        (None, "lease none: it signs nothing for hot wallets"),
    ):
        signer = wire.SignerStatus(
            audit_key="ab" * 32,
            seen_time=timestamp(NOW),
            lease_expire_time=timestamp(lease) if lease else None,
            watchtower=f"ed25519:{'ef' * 32}",
            freezes=[freeze],
        )
        custody.status = wire.GetStatusResponse(now=timestamp(NOW), signers=[signer])
        _, out, _ = run("--config", alice, "status")
        assert words_of_it in words(out)
        assert f"watchtower ed25519:{'ef' * 32}" in words(out)
        assert f"frozen all wallets by bob since {NOW:%Y-%m-%d %H:%M:%S} UTC" in words(out)


def test_when_nothing_is_to_be_done_it_says_so(
    run: Run, custody: MemoryCustody, alice: Path
) -> None:
    custody.status = wire.GetStatusResponse(now=timestamp(NOW))
    code, out, _ = run("--config", alice, "status")
    assert (code, out.splitlines()) == (0, ["no withdrawal is under way", "nothing to do"])
