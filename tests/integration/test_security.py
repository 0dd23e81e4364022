"""A Kafka with TLS, logins and ACLs: who comes in, who does not and why, and that no secret is told."""

import asyncio
import base64
import json
import logging
import os
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas.dead_letters import Failure, Reason, Stage, dead_letter_headers
from stream_app.acls import Needs
from stream_app.broker_access import UnreachableError
from stream_app.broker_config import free_port
from stream_app.broker_settings import BrokerSettings
from stream_app.brokers import administration, connection
from stream_app.correction_export import ExportProgress, export_corrections
from stream_app.errors import AccessError
from stream_app.fetching import faust_credentials
from stream_app.settings import load_settings
from stream_app.topics import TopicSettings, ensure_topics, gateway_needs, worker_needs
from tests.certificates import KEY_PASSWORD
from tests.conftest import TopicNames
from tests.integration.gateways import Gateway, HttpClient
from tests.integration.secured_kafka import PLAIN_PASSWORD, SCRAM_PASSWORD, Acl, SecuredKafka, acls_of
from tests.integration.workers import Topics, Worker, committed, listing, publish
from tests.token_endpoint import CLIENT_SECRET, TokenEndpoint, token_endpoint

PROJECT = Path(__file__).parents[2]
ACLS = acls_of((PROJECT / "README.md").read_text())
TOPICS = TopicSettings()
WAYS = ("scram", "mtls", "plain", "oauth")
SECRETS = (SCRAM_PASSWORD, PLAIN_PASSWORD, CLIENT_SECRET, KEY_PASSWORD)
WRONG = {"password": "wr0ng-s3cret"}
NAMES = Topics(
    TOPICS.product_listed_topic,
    TOPICS.category_assigned_topic,
    TOPICS.dead_letter_topic,
    TOPICS.explanation_requested_topic,
    TOPICS.category_explained_topic,
    "shelver",
)
SHELVER = str(Path(sys.executable).with_name("shelver"))


@pytest.fixture(scope="module")
def tokens() -> Iterator[TokenEndpoint]:
    with token_endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, tokens: TokenEndpoint) -> Iterator[SecuredKafka]:
    with SecuredKafka(tmp_path_factory.mktemp("secured"), tokens.url) as kafka:
        asyncio.run(create_topics(kafka, *TOPICS.all_topics))
        yield kafka


async def create_topics(secured: SecuredKafka, *names: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=secured.kafka.bootstrap)
    await admin.start()
    try:
        response = await admin.create_topics([NewTopic(name, 2, 1) for name in names])
        assert all(error == 0 for _, error, *_ in response.topic_errors), response
    finally:
        await admin.close()


def settings(secured: SecuredKafka, way: str, *, at: str = "", **changes: str) -> BrokerSettings:
    return BrokerSettings.model_validate(secured.settings(way, at=at, **changes))


def run(environment: Mapping[str, str], *words: str) -> "subprocess.Popen[str]":
    """A command as a user types it, with only these settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SHELVER_")}
    return subprocess.Popen(
        [SHELVER, *words],
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("way", "changes"),
    [
        ("scram", {}),
        ("scram", {"sasl_mechanism": "scram-sha-256"}),
        ("mtls", {}),
        ("plain", {}),
        ("oauth", {}),
    ],
)
async def test_every_way_in_is_good_for_administration_producer_and_consumer(
    secured: SecuredKafka, topic_names: TopicNames, way: str, changes: dict[str, str]
) -> None:
    topic = topic_names("secured")
    await create_topics(secured, topic)
    await secured.allow(Acl("shelver", "Read", "topic", topic), Acl("shelver", "Write", "topic", topic))
    arguments = connection(settings(secured, way, **changes))
    async with administration(arguments) as admin:
        assert topic in await admin.list_topics()
    async with AIOKafkaProducer(**arguments, enable_idempotence=True) as producer:
        await producer.send_and_wait(topic, b"told", partition=0)
    async with AIOKafkaConsumer(topic, **arguments, auto_offset_reset="earliest") as consumer:
        assert (await asyncio.wait_for(consumer.getone(), 20)).value == b"told"


async def test_a_session_that_the_broker_ends_is_taken_up_with_a_new_token(
    secured: SecuredKafka, topic_names: TopicNames, tokens: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = topic_names("renewed")
    await create_topics(secured, topic)
    monkeypatch.setattr(tokens, "life_seconds", 2)
    arguments = connection(settings(secured, "oauth"))
    num_tokens, num_sent = tokens.num_tokens, 60
    consumer = AIOKafkaConsumer(topic, **arguments, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(**arguments, enable_idempotence=True)
    async with producer, consumer:
        for number in range(num_sent):
            await producer.send_and_wait(topic, str(number).encode(), partition=0)
            await asyncio.sleep(0.1)
        values = [(await asyncio.wait_for(consumer.getone(), 20)).value for _ in range(num_sent)]
    assert values == [str(number).encode() for number in range(num_sent)]
    assert tokens.num_tokens - num_tokens >= 3


async def test_a_worker_with_the_acls_of_the_readme_and_no_others_does_everything(
    secured: SecuredKafka, demo_repository: Path, tmp_path: Path
) -> None:
    await secured.allow(*(acl for acl in ACLS if acl.user not in ("replayer", "exporter", "shelver-gateway")))
    catalogue = write_catalogue(tmp_path / "catalogue.csv", 20)
    log = tmp_path / "worker.log"
    worker_settings = {**secured.settings("scram"), "log_level": "debug"}
    with Worker("", NAMES, demo_repository, log=log, **worker_settings) as worker:
        await worker.ready()
        published = await ended(
            run(secured.environment("scram", username="publisher"), "publish", str(catalogue), "--explain")
        )
        assert published.code == 0, published.errors
        await publish(secured.kafka.bootstrap, NAMES.listed, [(b"1", b"no JSON", [])])
        outcomes = await watched(secured, 41)
        assert kinds(outcomes) == {"category-assigned": 20, "category-explained": 20, "dead-letter": 1}
        event_id = next(each["assigned"]["event_id"] for each in outcomes if "assigned" in each)
        request = {"request_id": "by event", "event_id": event_id}
        await publish(secured.kafka.bootstrap, NAMES.requested, [(b"1", json.dumps(request).encode(), [])])
        assert kinds(await watched(secured, 42))["category-explained"] == 21
        before = await until_committed(secured, 21)

        await secured.forbid(Acl("shelver", "Write", "topic", NAMES.assigned))
        await publish(secured.kafka.bootstrap, NAMES.listed, [listing(1)])
        assert await worker.exit_code(seconds=60) == 1
    said = log.read_text()
    assert f"the brokers do not allow WRITE on topic {NAMES.assigned} any more" in said
    assert await committed(secured.kafka.bootstrap, NAMES) == before
    assert "SaslAuthenticateRequest" in said, "nothing was there to be hidden"
    assert not [secret for secret in SECRETS if secret in said]


@dataclass(frozen=True)
class Ended:
    """How a command ended, and all that it said."""

    code: int
    told: str
    errors: str


async def ended(process: "subprocess.Popen[str]", seconds: float = 60) -> Ended:
    try:
        told, errors = await asyncio.to_thread(process.communicate, timeout=seconds)
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)
    return Ended(process.returncode, told, errors)


async def watched(secured: SecuredKafka, limit: int) -> list[dict[str, Any]]:
    """The first outcomes that `shelver watch` shows."""
    words = ("watch", "--from-beginning", "--json-lines", "--limit", str(limit))
    done = await ended(run(secured.environment("scram", username="watcher"), *words))
    assert done.code == 0, done.errors
    return [json.loads(line) for line in done.told.splitlines()]


def kinds(outcomes: Iterable[Mapping[str, Any]]) -> Counter[str]:
    return Counter(outcome["kind"] for outcome in outcomes)


async def until_committed(secured: SecuredKafka, num_records: int) -> dict[int, int | None]:
    while True:
        offsets = await committed(secured.kafka.bootstrap, NAMES)
        if sum(offset or 0 for offset in offsets.values()) == num_records:
            return offsets
        await asyncio.sleep(0.2)


def write_catalogue(path: Path, num_rows: int) -> Path:
    lines = [f"{row},Lampe de chevet {row},<p>rouge</p>" for row in range(num_rows)]
    path.write_text("\n".join(("product_id,title,description", *lines)) + "\n")
    return path


async def test_each_acl_that_is_missing_is_named_and_with_the_last_one_a_worker_may_begin(
    secured: SecuredKafka,
) -> None:
    wanted = [replace(acl, user="newcomer") for acl in ACLS if acl.user == "shelver"]
    needs = worker_needs(TOPICS, "shelver", searches_categories=True)
    assert len(wanted) == 9
    arguments = connection(settings(secured, "scram", username="newcomer"))
    for num_allowed, acl in enumerate(wanted):
        with pytest.raises(AccessError) as caught:
            await ensure_topics(TOPICS, arguments, needs)
        told = str(caught.value)
        assert "the brokers do not allow user 'newcomer': " in told
        missing = {f"{each.operation.upper()} on {each.kind} {each.name}" for each in wanted[num_allowed:]}
        assert set(told.partition("'newcomer': ")[2].partition(";")[0].split(", ")) == missing
        await secured.allow(acl)
    await ensure_topics(TOPICS, arguments, needs)


TURNED_AWAY: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("scram", "", WRONG, "refuses user 'shelver' (SCRAM-SHA-512"),
    ("scram", "", {"username": "nobody"}, "refuses user 'nobody'"),
    ("plain", "scram", {"security_protocol": "SASL_SSL"}, "does not offer PLAIN"),
    ("plain", "", WRONG, "refuses user 'operator' (PLAIN"),
    ("plain", "none", {}, "offers no login at this port"),
    ("oauth", "", {"oauth_client_secret": "x"}, "refuses with HTTP 401 invalid_client"),
    ("mtls", "", {"certificate_file": "", "key_file": "", "key_password": ""}, "not accept the client's"),
    ("mtls", "", {"certificate_file": "foreign", "key_file": "foreign"}, "not accept the client's"),
    ("misnamed", "", {}, "the certificate of localhost:"),
    ("misnamed", "scram", {"ca_file": "unknown"}, "not accepted (unable to get local issuer certificate"),
)
LEFT_WAITING: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("oauth", "", {"oauth_token_url": "http://127.0.0.1:9/"}, "no token for OAUTHBEARER"),
    ("misnamed", "scram", {}, "closes the connection; SHELVER_BROKER_SECURITY_PROTOCOL is SSL"),
    ("misnamed", "none", {}, "SHELVER_BROKER_SECURITY_PROTOCOL is SSL"),
    ("misnamed", "plain", {}, "SHELVER_BROKER_SECURITY_PROTOCOL is SSL"),
    ("misnamed", "plain", {"security_protocol": "PLAINTEXT"}, "SECURITY_PROTOCOL is PLAINTEXT"),
    ("misnamed", "scram", {"security_protocol": "PLAINTEXT"}, "SECURITY_PROTOCOL is PLAINTEXT"),
    ("plain", "scram", {}, "SECURITY_PROTOCOL is SASL_PLAINTEXT"),
)


async def test_what_turns_a_client_away_is_told_and_what_may_pass_too(secured: SecuredKafka) -> None:
    files = {
        "foreign": str(secured.certificates.foreign_client),
        "unknown": str(secured.certificates.unknown_authority),
    }
    for kind, table in ((AccessError, TURNED_AWAY), (UnreachableError, LEFT_WAITING)):
        for way, at, changes, words in table:
            given = {name: files.get(value, value) for name, value in changes.items()}
            arguments = connection(settings(secured, way, at=at, **given))
            with pytest.raises(kind) as caught:
                async with administration(arguments) as admin:
                    await admin.list_topics()
            assert words in str(caught.value)


async def test_a_missing_topic_is_created_where_the_acls_allow_that(
    secured: SecuredKafka, topic_names: TopicNames
) -> None:
    topic = topic_names("created")
    arguments = connection(settings(secured, "scram", username="newcomer"))
    needs = Needs.of(writes=[topic])
    await secured.allow(Acl("newcomer", "Write", "topic", topic))
    with pytest.raises(AccessError, match=f"'{topic}' is missing .* ACL: CREATE on topic {topic}"):
        await ensure_topics(TOPICS, arguments, needs)
    await secured.allow(Acl("newcomer", "Create", "topic", topic))
    await ensure_topics(TOPICS, arguments, needs)


async def test_commands_and_a_worker_that_are_turned_away_say_why_in_their_last_line_and_exit_2(
    secured: SecuredKafka, demo_repository: Path, tmp_path: Path
) -> None:
    catalogue = str(write_catalogue(tmp_path / "catalogue.csv", 1))
    model = {"SHELVER_MODEL_REPOSITORY": str(demo_repository), "SHELVER_MODEL": "demo@champion"}
    wrong = secured.environment("scram", **WRONG)
    stranger = str(secured.certificates.unknown_authority)
    runs = {
        "refuses user 'shelver' (SCRAM-SHA-512": run(
            wrong | model | {"SHELVER_METRICS_PORT": str(free_port())}, "worker"
        ),
        "refuses user 'operator' (PLAIN": run(secured.environment("plain", **WRONG), "watch"),
        "is not accepted (unable to get local issuer": run(
            secured.environment("mtls", ca_file=stranger), "publish", catalogue
        ),
        "do not allow user 'stranger': READ on topic category-assigned": run(
            secured.environment("scram", username="stranger"), "watch", "--no-latency"
        ),
    }
    for reason, process in runs.items():
        done = await ended(process)
        last = done.errors.splitlines()[-1]
        assert done.code == 2, done.errors
        assert last.startswith("shelver: ")
        assert reason in last
        assert WRONG["password"] not in done.told + done.errors
        assert "Traceback" not in done.errors


FAULTS: tuple[tuple[str, dict[str, str]], ...] = (
    *((way, {}) for way in WAYS),
    ("scram", WRONG),
    ("plain", WRONG),
    ("oauth", {"oauth_client_secret": WRONG["password"]}),
    ("oauth", {"oauth_token_url": "http://127.0.0.1:9/token"}),
    ("mtls", {"key_password": WRONG["password"]}),
    ("plain", {"sasl_mechanism": "SCRAM-SHA-512"}),
    ("scram", {"password_file": "/absent"}),
    ("scram", {"ca_file": "/absent"}),
    ("scram", {"security_protocol": "PLAINTEXT"}),
    ("scram", {"security_protocol": "SASL_PLAINTEXT", "ca_file": ""}),
    ("plain", {"sasl_mechanism": "OAUTHBEARER"}),
    ("oauth", {"oauth_client_id": ""}),
)


async def test_no_secret_is_told_whatever_goes_wrong(
    secured: SecuredKafka, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    for way, changes in FAULTS:
        try:
            chosen = load_settings({}, **secured.settings(way, **changes))
            told += [repr(chosen), str(chosen), chosen.model_dump_json()]
            arguments = connection(chosen)
            told += [repr(arguments), repr(faust_credentials(arguments))]
            async with administration(arguments) as admin:
                told.append(repr(await admin.list_topics()))
        except Exception as error:
            told += [*traceback.format_exception(error), repr(error)]
    said = "\n".join((*told, *(record.getMessage() for record in caplog.records), caplog.text))
    assert "refuses user" in said
    assert "refuses with HTTP 401" in said
    assert "SaslAuthenticateRequest" in said
    assert not [secret for secret in (*SECRETS, *WRONG.values()) for form in forms(secret) if form in said]


def forms(secret: str) -> Iterator[str]:
    """A secret as it may turn up: as it is, escaped, quoted, in Base64 at any offset."""
    yield secret
    yield repr(secret)[1:-1]
    yield quote_plus(secret)
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + secret.encode()).decode()
        yield encoded[4:-4]


async def test_commands_tell_no_secret_at_the_level_debug(secured: SecuredKafka) -> None:
    await publish(secured.kafka.bootstrap, NAMES.explained, [(b"1", b"no JSON", [])])
    runs = [
        run(secured.environment(way, **changes), "--log-level", "debug", *words)
        for way, changes, words in (
            ("plain", {}, ("watch", "--limit", "1", "--from-beginning", "--no-latency")),
            ("plain", WRONG, ("watch",)),
            ("oauth", {"oauth_client_secret": WRONG["password"]}, ("watch",)),
            ("mtls", {}, ("worker", "--settings")),
        )
    ]
    done = [await ended(each) for each in runs]
    assert [each.code for each in done] == [0, 2, 2, 0]
    said = "\n".join(each.told + each.errors for each in done)
    assert "SaslAuthenticateRequest" in said
    assert not [secret for secret in (*SECRETS, *WRONG.values()) for form in forms(secret) if form in said]


async def test_dead_letters_are_listed_and_replayed_with_the_acls_of_the_readme_and_no_others(
    secured: SecuredKafka,
) -> None:
    failure = Failure(Stage.DECODE, Reason.MALFORMED, "no JSON", f"{NAMES.listed}-0-0")
    await publish(secured.kafka.bootstrap, NAMES.dead, [(b"1", b"no JSON", [*dead_letter_headers(failure)])])
    replayer = secured.environment("scram", username="replayer")
    needed = [acl for acl in ACLS if acl.user == "replayer"]
    assert len(needed) == 5
    for acl in needed:
        done = await ended(run(replayer, "dead-letters", "replay"))
        assert done.code == 2
        assert f"{acl.operation.upper()} on {acl.kind} {acl.name}" in done.errors.splitlines()[-1]
        await secured.allow(acl)
    done = await ended(run(replayer, "dead-letters", "replay", "--json"))
    assert (done.code, json.loads(done.told)["replayed"] >= 1) == (0, True), done.errors
    await secured.allow(*(acl for acl in ACLS if acl.user == "watcher"))
    done = await ended(
        run(secured.environment("scram", username="watcher"), "dead-letters", "list", "--json")
    )
    assert (done.code, json.loads(done.told)["dead_letters"] >= 1) == (0, True), done.errors


async def test_corrections_are_exported_with_the_acls_of_the_readme_and_no_others(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    login = settings(secured, "scram", username="exporter").model_dump(exclude_unset=True)
    chosen, rows = load_settings({}, **login), tmp_path / "rows.jsonl"
    needed = [acl for acl in ACLS if acl.user == "exporter"]
    assert len(needed) == 3
    for acl in needed:
        with pytest.raises(AccessError, match=f"{acl.operation.upper()} on {acl.kind} {acl.name}"):
            await export_corrections(chosen, rows, ExportProgress())
        assert not rows.exists()
        await secured.allow(acl)
    await export_corrections(chosen, rows, ExportProgress())
    assert rows.read_bytes() == b""


async def test_a_gateway_with_the_acls_of_the_readme_and_no_others_does_everything(
    secured: SecuredKafka, demo_repository: Path, tmp_path: Path
) -> None:
    needed = [acl for acl in ACLS if acl.user == "shelver-gateway"]
    assert len(needed) == 7
    arguments = connection(settings(secured, "scram", username="shelver-gateway"))
    for acl in needed:
        with pytest.raises(AccessError, match=f"{acl.operation.upper()} on {acl.kind} {acl.name}"):
            await ensure_topics(TOPICS, arguments, gateway_needs(TOPICS))
        await secured.allow(acl)
    worker_log, log = tmp_path / "worker.log", tmp_path / "gateway.log"
    login = secured.settings("scram", username="shelver-gateway")
    with (
        Worker(secured.kafka.bootstrap, NAMES, demo_repository, log=worker_log) as worker,
        Gateway("", NAMES, demo_repository, log=log, gateway_deadline_seconds=60, **login) as gateway,
    ):
        await worker.ready()
        await gateway.ready()
        async with HttpClient(gateway) as client:
            product = {"event_id": "by-http", "product_id": "1", "title": "Lampe"}
            answer = await client.post("/v1/products", {**product, "explain": True})
            assert answer.status == 200, answer
            assert answer.body["explained"]["event_id"] == "by-http"
            listing = await client.get("/v1/products/by-http/listing")
            assert (listing.status, listing.body["title"]) == (200, "Lampe"), listing
            asked = {"request_id": "r-1", "product": {**product, "event_id": "asked"}}
            assert (await client.post("/v1/explanations", asked)).status == 200
            dead = await client.post("/v1/products", {"product_id": "2", "title": "<br>"})
            assert (dead.status, dead.body["reason"]) == (422, "empty_listing"), dead
            correction = {"product_id": "1", "event_id": "by-http", "category": {"code": 10}}
            assert (await client.post("/v1/corrections", correction)).status == 202
        assert await gateway.stop() == 0
    assert not [secret for secret in SECRETS if secret in log.read_text()]
