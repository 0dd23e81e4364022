"""A Kafka with TLS, each kind of login, and ACLs; certificates and secrets are made for the run."""

import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from stream_app.broker import EmbeddedBroker
from stream_app.broker_config import BrokerSecurity, Listener, free_port
from tests.certificates import KEY_PASSWORD, Certificates
from tests.token_endpoint import CLIENT_ID, CLIENT_SECRET

SCRAM_PASSWORD = "scr4m-s3cret of=the worker"
PLAIN_PASSWORD = "pl41n-secret"
MODULES = "org.apache.kafka.common.security"

SCRAM_USERS = (
    *("shelver", "shelver-gateway", "publisher", "watcher", "replayer", "exporter"),
    *("newcomer", "stranger"),
)
RESOURCES = {"topic": 2, "group": 3}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5}


@dataclass(frozen=True)
class Acl:
    """Somebody's operation on a topic or a group."""

    user: str
    operation: str
    kind: str
    name: str


def acls_of(readme: str) -> list[Acl]:
    """What the kafka-acls lines of a text allow, one for each operation on each topic or group."""
    found = []
    for line in re.findall(r"^kafka-acls .*$", readme.replace("\\\n", " "), re.MULTILINE):
        words = shlex.split(line, comments=True)
        user = words[words.index("--allow-principal") + 1].removeprefix("User:")
        operation = words[words.index("--operation") + 1]
        found += [
            Acl(user, operation, flag.removeprefix("--"), name)
            for flag, name in pairwise(words)
            if flag in ("--topic", "--group")
        ]
    return found


class SecuredKafka:
    """A broker with a listener for each way in.

    ``scram``, ``mtls``, ``plain`` and ``oauth`` are the environments of a client; ``kafka.bootstrap`` is
    plain and its anonymous user may do anything.
    """

    def __init__(self, folder: Path, token_url: str) -> None:
        self.certificates = certificates = Certificates(folder)
        server = {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(certificates.server),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(certificates.authority),
        }
        scram = _sasl("SCRAM-SHA-256", f"{MODULES}.scram.ScramLoginModule required;")
        scram |= _sasl("SCRAM-SHA-512", f"{MODULES}.scram.ScramLoginModule required;")
        scram["sasl.enabled.mechanisms"] = "SCRAM-SHA-256,SCRAM-SHA-512"
        plain = f'{MODULES}.plain.PlainLoginModule required user_operator="{PLAIN_PASSWORD}";'
        oauth = _sasl(
            "OAUTHBEARER",
            f'{MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
        )
        # The broker ends a session with its token, or after this time.
        oauth["oauthbearer.connections.max.reauth.ms"] = "3600000"
        mapping = {
            "ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
        }
        self.listeners = {
            "scram": Listener("SCRAM", "SASL_SSL", free_port(), {**server, **scram}),
            "mtls": Listener("MTLS", "SSL", free_port(), {**server, **mapping}),
            "plain": Listener("PLAIN", "SASL_PLAINTEXT", free_port(), _sasl("PLAIN", plain)),
            "oauth": Listener("OAUTH", "SASL_SSL", free_port(), {**server, **oauth}),
            "misnamed": Listener("MISNAMED", "SSL", free_port(), server, advertised_host="localhost"),
        }
        users = tuple(
            f"{mechanism}=[name={name},password={SCRAM_PASSWORD}]"
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for name in SCRAM_USERS
        )
        self.kafka = EmbeddedBroker(
            folder / "kafka",
            security=BrokerSecurity(tuple(self.listeners.values()), users),
            properties={
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS;User:operator;User:certified;User:token-user",
                "connection.failed.authentication.delay.ms": "10",
            },
        )
        self._token_url = token_url

    def environment(self, way: str, *, at: str = "", **changes: str) -> dict[str, str]:
        """The SHELVER_ variables of a client that comes in by a way of its own.

        Args:
            way: scram, plain, mtls, oauth, or misnamed: TLS alone.
            at: the listener that it comes to; its own by default, ``none`` for the plain one.
            changes: of the SHELVER_BROKER_ variables, by the rest of their names; an empty one is left out.
        """
        certificates = self.certificates
        bootstrap = self.kafka.bootstrap if at == "none" else self.listeners[at or way].bootstrap
        ways = {
            "scram": {
                "sasl_mechanism": "SCRAM-SHA-512",
                "username": "shelver",
                "password": SCRAM_PASSWORD,
            },
            "plain": {"sasl_mechanism": "PLAIN", "username": "operator", "password": PLAIN_PASSWORD},
            "mtls": {
                "certificate_file": str(certificates.client),
                "key_file": str(certificates.locked_key),
                "key_password": KEY_PASSWORD,
            },
            "oauth": {
                "sasl_mechanism": "OAUTHBEARER",
                "oauth_token_url": self._token_url,
                "oauth_client_id": CLIENT_ID,
                "oauth_client_secret": CLIENT_SECRET,
            },
            "misnamed": {},
        }
        values = {"security_protocol": self.listeners[way].protocol, **ways[way], **changes}
        if values["security_protocol"].endswith("SSL"):
            values.setdefault("ca_file", str(certificates.authority))
        return {"SHELVER_BROKER": f"kafka://{bootstrap}"} | {
            f"SHELVER_BROKER_{name.upper()}": value for name, value in values.items() if value
        }

    def settings(self, way: str, *, at: str = "", **changes: str) -> dict[str, str]:
        """The same as keyword arguments of `BrokerSettings`."""
        return {
            name.removeprefix("SHELVER_").lower(): value
            for name, value in self.environment(way, at=at, **changes).items()
        }

    async def allow(self, *acls: Acl) -> None:
        for acl in acls:
            await self._change(CreateAclsRequest, acl)

    async def forbid(self, *acls: Acl) -> None:
        for acl in acls:
            await self._change(DeleteAclsRequest, acl)

    async def _change(self, request: Any, acl: Acl) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka.bootstrap)
        await admin.start()
        try:
            literal, allow = 3, 3
            resource = RESOURCES[acl.kind], acl.name, literal
            entry = f"User:{acl.user}", "*", OPERATIONS[acl.operation], allow
            response = await admin._send_request(request(*resource, *entry))
        finally:
            await admin.close()
        (answers,) = (value for name, value in response.to_object().items() if name.endswith("_responses"))
        assert [answer["error_code"] for answer in answers] == [0], response

    def __enter__(self) -> Self:
        self.kafka.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.kafka.close()


def _sasl(mechanism: str, jaas: str) -> dict[str, str]:
    return {"sasl.enabled.mechanisms": mechanism, f"{mechanism.lower()}.sasl.jaas.config": jaas}
