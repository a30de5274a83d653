"""A development certificate authority: ECDSA P-256, one SPIFFE URI for each holder.

Never for production: its key lies in a file. gRPC refuses Ed25519 certificates.
"""

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from custody.identity import Identity
from custody.tls import TlsFiles

CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=90)


class Authority:
    """Issues certificates into one folder; makes its own key there the first time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file, key_file = folder / "ca.pem", folder / "ca.key"
        if not self._file.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Kura development CA")])
            builder = _builder(name, name, key.public_key(), CA_LIFE)
            constraints = x509.BasicConstraints(ca=True, path_length=0)
            certificate = builder.add_extension(constraints, critical=True).sign(
                key, hashes.SHA256()
            )
            _write_key(key_file, key)
            self._file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._certificate = x509.load_pem_x509_certificate(self._file.read_bytes())
        loaded = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key_file} holds no EC key")
        self._key = loaded

    def issue(
        self, identity: Identity, hosts: Sequence[str] = (), life: timedelta = LEAF_LIFE
    ) -> TlsFiles:
        """Return the files of this identity's certificate; issue it when it is not there.

        `hosts`: DNS names and IP addresses of a server.
        """
        stem = f"{identity.role}-{identity.name}"
        files = TlsFiles(self._file, self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        if not files.certificate.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(files.key, key)
            certificate = self._sign(identity, hosts, key.public_key(), life)
            files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return files

    def _sign(
        self,
        identity: Identity,
        hosts: Sequence[str],
        key: ec.EllipticCurvePublicKey,
        life: timedelta,
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.name)])
        names = [x509.UniformResourceIdentifier(identity.uri), *map(_general_name, hosts)]
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = _builder(subject, self._certificate.subject, key, life)
        return (
            builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(purposes if hosts else purposes[:1]), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + life)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
