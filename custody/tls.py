"""Mutual TLS: everyone shows a certificate of the same CA, and nothing talks without it."""

from dataclasses import dataclass
from pathlib import Path

import grpc

MESSAGE_BYTES_MAX = 2 * 1024 * 1024
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
            private_key=self.key.read_bytes(),
            certificate_chain=self.certificate.read_bytes(),
        )

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return what a server shows, asking every client for a certificate."""
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_credentials(
            [pair], root_certificates=self.ca.read_bytes(), require_client_auth=True
        )
