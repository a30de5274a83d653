"""A thief who has a development system's token and its PIN: signs past the signer, and sends.

Run as a program it signs what stands on standard input, as whoever holds the token can.
"""

import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction

from custody.dev.layout import WALLET
from custody.dev.system import System
from signer.hsm import Token
from signer.settings import read_settings


def steal(system: System, lamports: int) -> str:
    """Send that much of the hot wallet to a stranger; return the transaction's id."""
    wallet = Pubkey.from_string(system.wallet_address)
    to = Keypair().pubkey()
    latest: Any = system.rpc("getLatestBlockhash", {"commitment": "processed"})
    paid = transfer(TransferParams(from_pubkey=wallet, to_pubkey=to, lamports=lamports))
    recent = Hash.from_string(latest["value"]["blockhash"])
    message = Message.new_with_blockhash([paid], wallet, recent)
    command = [sys.executable, "-m", "tests.thief", str(system.layout.signer_settings)]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        input=bytes(message),
        capture_output=True,
        check=True,
        env=os.environ | system.layout.environment,
    )
    signed = Transaction.populate(message, [Signature.from_bytes(done.stdout)])
    encoded = b64encode(bytes(signed)).decode()
    options = {"encoding": "base64", "skipPreflight": True}
    return str(system.rpc("sendTransaction", encoded, options))


if __name__ == "__main__":
    chosen = read_settings(Path(sys.argv[1]))
    pin = (chosen.pin_file or Path()).read_text().strip()
    token = Token.open(chosen.module, chosen.token, pin)
    sys.stdout.buffer.write(token.sign(WALLET, sys.stdin.buffer.read()))
