"""What is signed after a proven theft: a ladder of transfers to the pinned address.

Nobody knows what the thief leaves, so the first asks for all and each next one for half as much:
those that are too large fail, for their fee, and the others take what there is down to a last
piece, for which the watchtower asks again. The halves leave room for every fee and for the least
that the runtime lets an account hold, so that in whatever order they run none stands in another's
way.
"""

from policies.codes import Code, Refusal
from policies.policy import Policy, Sweep, Wallet
from policies.statements import Theft
from signer.chains import solana
from signer.chains.solana_address import decode_address, refuse_destination

LADDER_MAX = 8
RENT_EXEMPT = 890_880  # lamports; a transaction that leaves less in an account, but not 0, fails
_UNITS = 1_000  # compute units; it uses 600. The fewer, the more its fee weighs against others'


def refuse_sweeps(policy: Policy) -> Refusal | None:
    """Return why a wallet could not be swept by this policy: better now than after a theft."""
    for wallet in policy.wallets.values():
        here = policy.assets[wallet.asset].network.startswith("solana:")
        words = _words_against(wallet, wallet.sweep) if wallet.sweep and here else None
        if words:
            rule = f"wallets.{wallet.name}.sweep"
            return Refusal(Code.POLICY_MALFORMED, f"{rule}: {words}", field=rule)
    return None


def _words_against(wallet: Wallet, sweep: Sweep) -> str | None:
    try:
        _fee(sweep.fee)
    except ValueError:
        return "fee is less than the chain takes for one signature, or more than it can say"
    return refuse_destination(sweep.to, wallet.address)


def build_sweeps(wallet: Wallet, theft: Theft) -> tuple[tuple[bytes, int], ...] | Refusal:
    """Return different messages, to be sent in this order, each with what it takes out in all.

    Each costs exactly the policy's sweep fee, and one that would move less than that is left out:
    none is left when the wallet holds less than two fees.
    """
    sweep = wallet.sweep
    if sweep is None:
        words = f"the policy names no sweep of {wallet.name}"
        return Refusal(Code.DESTINATION_NOT_ALLOWED, words, rule=f"wallets.{wallet.name}")
    rest = theft.balance - LADDER_MAX * sweep.fee - RENT_EXEMPT
    halves = (rest >> step for step in range(1, LADDER_MAX))
    amounts = [amount for amount in (theft.balance - sweep.fee, *halves) if amount >= sweep.fee]
    try:
        fee = _fee(sweep.fee)
        return tuple(
            (
                solana.sweep_message(
                    source=decode_address(wallet.address),
                    destination=decode_address(sweep.to),
                    lamports=amount,
                    blockhash=bytes.fromhex(theft.blockhash),
                    fee=fee,
                ),
                amount + sweep.fee,
            )
            for amount in amounts
        )
    except ValueError as error:
        rule = f"wallets.{wallet.name}.sweep"
        return Refusal(Code.CHAIN_PARAMETERS_INVALID, str(error), rule=rule)


def _fee(total: int) -> solana.Fee:
    """The compute budget that costs exactly `total`, the fee of one signature included."""
    return solana.Fee(_UNITS, (total - solana.Fee(_UNITS, 0).total()) * 1_000_000 // _UNITS)
