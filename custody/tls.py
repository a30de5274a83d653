"""Mutual TLS: everyone shows a certificate of the same CA, and nothing talks without it."""

from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

MESSAGE_BYTES_MAX = 2 * 1024 * 1024
OTHERS = 0o077
CHANNEL_OPTIONS = (("grpc.max_receive_message_length", 8 * MESSAGE_BYTES_MAX),)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the CA's certificate, our own certificate and its ECDSA P-256 key."""

    ca: Path
    certificate: Path
    key: Path

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return what a client shows and trusts."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca.read_bytes(),
            private_key=self._own_key(),
            certificate_chain=self.certificate.read_bytes(),
        )

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return what a server shows, asking every client for a certificate."""
        pair = (self._own_key(), self.certificate.read_bytes())
        return grpc.ssl_server_credentials(
            [pair], root_certificates=self.ca.read_bytes(), require_client_auth=True
        )

    def _own_key(self) -> bytes:
        """Return the key's PEM; ValueError in words when it is open to others, or another's."""
        if self.key.stat().st_mode & OTHERS:
            raise ValueError(f"{self.key} can be read by others: chmod 600 {self.key}")
        pem = self.key.read_bytes()
        try:
            key = load_pem_private_key(pem, None).public_key()
            certified = x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_key()
        except (ValueError, TypeError) as error:
            words = "must be PEM files, the key without a passphrase"
            raise ValueError(f"{self.certificate} and {self.key} {words}: {error}") from error
        if key != certified:
            raise ValueError(f"{self.key} is not the key of {self.certificate}: name its own")
        return pem
