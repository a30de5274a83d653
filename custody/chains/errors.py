"""What can go wrong between custody, a chain's node and the signer, named for what went wrong.

Texts from a node are quoted shortened; a node's URL never appears, since its path may be a key.
"""


class ChainError(Exception):
    """Base of the errors of every chain adapter."""


class NodeError(ChainError):
    """The node is unreachable, too slow, behind, or answers nonsense: ask again later."""


class AnswerTooLongError(NodeError):
    """The node's answer was longer than any that custody asks for; it was not read to its end."""


class RpcError(NodeError):
    """The node answered with a JSON-RPC error object."""

    def __init__(self, method: str, code: int, message: str, data: object) -> None:
        super().__init__(f"the node refused {method} with code {code}: {message[:300]!r}")
        self.code = code
        self.data = data


class RejectedError(ChainError):
    """The node simulated the transaction and will not send it: these bytes cannot land now.

    `err` is the chain's own reason as JSON text ("" if the node gave none).
    """

    def __init__(self, words: str, err: str) -> None:
        super().__init__(words)
        self.err = err


class NonceUnusableError(ChainError):
    """Something else lies where a nonce account should be: skip this index of the pool."""


class SignerMismatchError(ChainError):
    """The signer's transaction is not the one asked for: never send it, freeze and compare."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(f"the signed transaction differs in {field}: {words}")
        self.field = field
