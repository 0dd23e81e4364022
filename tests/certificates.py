"""Certificates for tests, made for the run."""

from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization

KEY_PASSWORD = "k3y-s3cret"


class Certificates:
    """An authority, the broker's certificate for 127.0.0.1, a client's, and an authority unknown here."""

    def __init__(self, folder: Path) -> None:
        authority, stranger = trustme.CA(), trustme.CA()
        server = authority.issue_cert("127.0.0.1")
        client = authority.issue_cert("client.example", common_name="certified")
        self.authority, self.unknown_authority = folder / "ca.pem", folder / "unknown-ca.pem"
        self.server = folder / "server.pem"
        self.client, self.client_key = folder / "client.pem", folder / "client.key"
        self.locked_key, self.foreign_client = folder / "locked.key", folder / "foreign.pem"
        authority.cert_pem.write_to_path(self.authority)
        stranger.cert_pem.write_to_path(self.unknown_authority)
        self.server.write_bytes(_key(server) + _chain(server))
        self.client.write_bytes(_chain(client))
        self.client_key.write_bytes(_key(client))
        self.locked_key.write_bytes(_key(client, KEY_PASSWORD))
        foreign = stranger.issue_cert("client.example", common_name="certified")
        self.foreign_client.write_bytes(_key(foreign) + _chain(foreign))


def _chain(issued: trustme.LeafCert) -> bytes:
    return b"".join(blob.bytes() for blob in issued.cert_chain_pems)


def _key(issued: trustme.LeafCert, password: str | None = None) -> bytes:
    """The key in the one form that Kafka reads, PKCS #8."""
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password.encode()),
    )
