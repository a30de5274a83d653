"""The token's keys: which wallets this signer holds, and signatures that were verified."""

from policies.codes import Code, Refusal
from policies.fields import key_text
from policies.policy import Policy, Wallet
from policies.statements import Signed, verify
from signer.chains import solana_address
from signer.hsm import Token
from signer.pkcs11 import KeyRefusedError

AUDIT_LABEL = "audit"


class SignatureFault(Exception):  # noqa: N818 - named for what went wrong
    """The token returned a signature that does not verify: stop and examine the token."""


class Keys:
    """What the token signs with. `wallets`: each one's key (32 bytes) by its label."""

    def __init__(self, token: Token) -> None:
        self._token = token
        self.wallets = token.keys()
        if AUDIT_LABEL not in self.wallets:
            raise KeyRefusedError("the token holds no audit key: is it the one of signer init?")
        self._audit = self.wallets.pop(AUDIT_LABEL)
        self.audit_key = key_text(self._audit)

    def held(self, policy: Policy, name: str) -> Wallet | Refusal:
        """Return the wallet, when the policy names this signer and this key for it."""
        wallet = policy.wallets.get(name)
        if wallet is None:
            return Refusal(Code.WALLET_UNKNOWN, f"no wallet is called {name}", field="wallet")
        key = self.wallets.get(name)
        if wallet.signer != self.audit_key or key is None:
            words = f"the policy names another signer for {name}"
            return Refusal(Code.WALLET_NOT_HELD, words, rule=f"wallets.{name}.signer")
        if solana_address.encode_address(key) != wallet.address:
            words = f"the key called {name} in this token has another address than the policy says"
            return Refusal(Code.WALLET_NOT_HELD, words, rule=f"wallets.{name}.address")
        return wallet

    def sign(self, wallet: Wallet, message: bytes) -> bytes:
        """Return a signature of the wallet's key over a message that this signer built."""
        return self._signed(wallet.name, self.wallets[wallet.name], message)

    def sign_statement(self, statement: bytes) -> bytes:
        """Return the audit key's signature."""
        return self._signed(AUDIT_LABEL, self._audit, statement)

    def _signed(self, label: str, key: bytes, data: bytes) -> bytes:
        signature = self._token.sign(label, data)
        if not verify(key_text(key), Signed(data, signature)):
            raise SignatureFault(f"the token's signature for {label} does not verify")
        return signature
