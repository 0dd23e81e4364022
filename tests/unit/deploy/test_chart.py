"""The Helm chart: rendered where Helm is, and always true to the service's settings and its own schema."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from models.repository import ModelSpec
from stream_app.broker_settings import SaslMechanism, SecurityProtocol
from stream_app.settings import PREFIX, Settings
from tests.deployment import ALL_SETTINGS, CHART, DEPLOY, exposed, last, manifests, settings_of
from tests.shelver_commands import parse
from tests.unit.deploy.values_table import documented, values_table

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
KUBERNETES = ("1.27.0", "1.34.0")
PVC = "model.repository.claim=models"
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
CERTIFICATE, GATEWAY, OAUTH, SECURED = EXAMPLES
CHOICES = {"defaults": ("--set", PVC), **{file.stem: ("-f", file) for file in EXAMPLES}}
by_choice = pytest.mark.parametrize("chosen", CHOICES.values(), ids=CHOICES)
needs_helm = pytest.mark.skipif(shutil.which("helm") is None, reason="Helm is not installed")


def helm(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["helm", *map(str, words)], capture_output=True, text=True, check=False, timeout=60)


@cache
def template(*words: object, version: str) -> str:
    done = helm("template", "release", CHART, "--kube-version", version, "--namespace", "shop", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(*words: object, version: str = KUBERNETES[1]) -> list[dict[str, Any]]:
    return manifests(template(*words, version=version))


def all_of(component: str, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    label = "app.kubernetes.io/component"
    return [document for document in documents if document["metadata"]["labels"][label] == component]


def only(kind: str, documents: list[dict[str, Any]], component: str = "worker") -> dict[str, Any]:
    (found,) = (document for document in all_of(component, documents) if document["kind"] == kind)
    return found


def pod_of(documents: list[dict[str, Any]], component: str = "worker") -> dict[str, Any]:
    pod = only("Deployment", documents, component)["spec"]["template"]["spec"]
    assert isinstance(pod, dict)
    return pod


def container_of(documents: list[dict[str, Any]], component: str = "worker") -> dict[str, Any]:
    (container,) = pod_of(documents, component)["containers"]
    assert isinstance(container, dict)
    return container


def environment_of(container: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a container, those of Kubernetes' own as a single CPU."""
    return {variable["name"]: variable.get("value", "1") for variable in container["env"]}


def refusal(*words: object) -> str:
    done = helm("template", "release", CHART, "--kube-version", KUBERNETES[1], *words)
    assert done.returncode != 0, done.stdout
    return done.stderr


def with_values(**changes: Any) -> dict[str, Any]:
    """The default values with others in their place: ``kafka__group="x"`` is kafka.group."""
    values: dict[str, Any] = json.loads(json.dumps(VALUES))
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = values
        for parent in parents:
            place = place[parent]
        place[name] = value
    return values


class TestValues:
    def test_they_fit_their_schema_and_so_do_the_examples(self) -> None:
        jsonschema.Draft7Validator.check_schema(SCHEMA)
        jsonschema.validate(VALUES, SCHEMA)
        assert EXAMPLES
        for example in EXAMPLES:
            jsonschema.validate(yaml.safe_load(example.read_text()), SCHEMA)

    def test_the_schema_knows_each_value_and_no_other(self) -> None:
        def names(values: Any, schema: Mapping[str, Any], path: str = "") -> None:
            if "properties" not in schema:
                return
            assert schema["additionalProperties"] is False, path
            of_pods = {"claims"} if path.endswith("resources") else set()
            assert set(schema["properties"]) - {"global"} == set(values) | of_pods, path
            for name, part in schema["properties"].items():
                if name in values:
                    names(values[name], part, f"{path}.{name}")

        names(VALUES, SCHEMA)

    @pytest.mark.parametrize(
        ("change", "value"),
        [
            ("replica", 3),
            ("replicas", -1),
            ("kafka__brokers", "http://kafka:9092"),
            ("kafka__brokers", "kafka://user@kafka:9092"),
            ("kafka__partitions", 0),
            ("kafka__security__protocol", "TLS"),
            ("kafka__security__protocol", "SASL_SSL"),  # without a mechanism
            ("kafka__security__saslMechanism", "PLAIN"),  # without SASL
            ("image__digest", "latest"),
            ("model__name", "fusion@"),
            ("settings", {"MAX_BATCH": 1}),
            ("settings", {"metrics_port": 9200}),  # probes and the Service ask on 9102
            ("settings", {"metrics_host": "127.0.0.1"}),
            ("settings", {"gateway_api_keys": []}),  # they belong into a Secret
            ("gateway__settings", {"gateway_port": 80}),
            ("console__settings", {"console_api_key": "a secret"}),
            ("gateway__security", {"user": "shelver"}),
            ("gateway__security", {"protocol": "TLS"}),
            ("gateway__replicas", 1.5),
            ("console__replicas", 2),
            ("console__hosts", "console.example"),
            ("autoscaling__explanationLagThreshold", 0),
            ("env", [{"name": "SHELVER_MAX_BATCH", "value": "1"}]),
            ("podDisruptionBudget__maxUnavailable", 0),
            ("stopSeconds", 0),
            ("metrics__serviceMonitor__interval", "often"),
            ("tmpSize", "large"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, change: str, value: Any) -> None:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(with_values(**{change: value}), SCHEMA)

    def test_each_is_documented(self) -> None:
        described = {".".join(path) for path, _ in documented()}

        def undescribed(values: Mapping[str, Any], path: str = "") -> list[str]:
            found = []
            for name, value in values.items():
                whole = f"{path}{name}"
                if whole in described:
                    continue
                found += undescribed(value, f"{whole}.") if isinstance(value, dict) and value else [whole]
            return found

        assert not undescribed(VALUES)
        assert values_table() in (CHART / "README.md").read_text(encoding="utf-8")

    def test_defaults_are_those_of_the_service(self) -> None:
        defaults = Settings()
        topics = VALUES["kafka"]["topics"]
        assert {
            f"{re.sub('([A-Z])', lambda found: '_' + found[1].lower(), name)}_topic": topic
            for name, topic in topics.items()
        } == {name: field.default for name, field in Settings.model_fields.items() if name.endswith("_topic")}
        assert VALUES["kafka"]["group"] == defaults.group
        assert VALUES["kafka"]["partitions"] == defaults.topic_partitions
        assert VALUES["model"]["name"] == defaults.model
        assert VALUES["drainSeconds"] == defaults.drain_seconds
        assert VALUES["stopSeconds"] == defaults.stop_seconds
        for name in ("gateway", "console"):
            assert VALUES[name]["stopSeconds"] == ALL_SETTINGS[f"{name}_stop_seconds"].default

    def test_settings_that_they_name_are_settings(self) -> None:
        text = "".join(file.read_text() for file in (CHART / "values.yaml", *EXAMPLES))
        named = set(re.findall(rf"{PREFIX}(\w+)", text))
        templates = "".join(file.read_text() for file in (CHART / "templates").iterdir())
        named |= {name.upper() for name in re.findall(r'^ +"([a-z]+_\w+)" ', templates, re.MULTILINE)}
        assert len(named) > 25
        assert named <= {name.upper() for name in ALL_SETTINGS}

    def test_what_they_let_through_the_worker_takes(self) -> None:
        security = SCHEMA["properties"]["kafka"]["properties"]["security"]["properties"]
        assert security["protocol"]["enum"] == list(SecurityProtocol)
        assert security["saslMechanism"]["enum"] == ["", *SaslMechanism]
        ModelSpec.parse(VALUES["model"]["name"])


def test_alerts_and_dashboards_are_the_ones_of_the_other_deployments() -> None:
    assert (CHART / "files" / "alerts.yml").resolve() == DEPLOY / "prometheus" / "alerts.yml"
    assert (CHART / "files" / "dashboards").resolve() == DEPLOY / "grafana" / "dashboards"


@needs_helm
class TestRendered:
    @by_choice
    def test_lint_finds_nothing(self, chosen: tuple[object, ...]) -> None:
        done = helm("lint", "--strict", "--kube-version", KUBERNETES[1], CHART, *chosen)
        assert done.returncode == 0, done.stdout

    @pytest.mark.parametrize("version", KUBERNETES)
    @by_choice
    def test_kubernetes_takes_what_is_its_own(self, chosen: tuple[object, ...], version: str) -> None:
        for document in rendered(*chosen, version=version):
            if document["apiVersion"].split("/")[0] in ("v1", "apps", "policy", "networking.k8s.io"):
                kubernetes_validate.validate(document, version, strict=True)

    def test_what_is_asked_for_is_made_and_nothing_else(self) -> None:
        kinds = {name: {each["kind"] for each in rendered(*chosen)} for name, chosen in CHOICES.items()}
        always = {"Deployment", "Service"}
        usual = always | {"NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"}
        scaled = {"ScaledObject", "TriggerAuthentication"}
        assert kinds == {
            "defaults": usual,
            "certificate-values": usual | scaled,
            "gateway-values": usual | {"ServiceMonitor"},
            "oauth-values": always | scaled,
            "secured-values": usual | scaled | {"ConfigMap", "PrometheusRule", "ServiceMonitor"},
        }

    @by_choice
    def test_the_worker_takes_its_settings(
        self, chosen: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        container = container_of(rendered(*chosen))
        settings = settings_of("worker", environment_of(container), monkeypatch)
        assert settings.inference_threads == 1
        parse(container["args"])

    def test_settings_arrive_as_they_are_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = settings_of("worker", environment_of(container_of(rendered("-f", SECURED))), monkeypatch)
        assert settings.max_batch == 256
        assert settings.evidence_cache_bytes == 64 * 2**20
        assert settings.image_allowed_hosts == ("*.cdn.example",)

    @pytest.mark.parametrize("chosen", list(CHOICES.values())[1:], ids=list(CHOICES)[1:])
    def test_files_that_settings_name_are_mounted(self, chosen: tuple[object, ...]) -> None:
        pod = pod_of(rendered(*chosen))
        (container,) = pod["containers"]
        (folder,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "kafka")
        (volume,) = (volume for volume in pod["volumes"] if volume["name"] == "kafka")
        files = {
            f"{folder}/{item['path']}"
            for source in volume["projected"]["sources"]
            for item in source["secret"]["items"]
        }
        named = {value for name, value in environment_of(container).items() if name.endswith("_FILE")}
        assert named == files
        assert files

    @pytest.mark.parametrize(
        ("component", "more"), [("worker", set()), ("gateway", {"repository"}), ("console", set())]
    )
    def test_nobody_may_do_what_they_need_not(self, component: str, more: set[str]) -> None:
        documents = rendered("-f", GATEWAY)
        pod = pod_of(documents, component)
        assert pod["automountServiceAccountToken"] is False
        assert only("ServiceAccount", documents)["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == last("USER")
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        container = container_of(documents, component)
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        writable = {mount["name"] for mount in container["volumeMounts"] if "readOnly" not in mount}
        assert writable == {"tmp"} | more

    def test_a_gateway_that_promotes_nothing_cannot_change_the_models(self) -> None:
        documents = rendered("-f", GATEWAY, "--set", "gateway.promotes=false")
        (mount,) = (
            each
            for each in container_of(documents, "gateway")["volumeMounts"]
            if each["name"] == "repository"
        )
        assert mount["readOnly"] is True
        (volume,) = (each for each in pod_of(documents, "gateway")["volumes"] if each["name"] == "repository")
        assert volume["persistentVolumeClaim"]["readOnly"] is True

    def test_probes_ask_what_the_worker_serves(self) -> None:
        container = container_of(rendered("--set", PVC))
        (port,) = container["ports"]
        assert port["containerPort"] == exposed()["worker"]
        asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
        assert asked == {
            "startup": {"path": "/healthz", "port": "metrics"},
            "liveness": {"path": "/healthz", "port": "metrics"},
            "readiness": {"path": "/readyz", "port": "metrics"},
        }

    def test_gateway_and_console_are_asked_where_they_serve(self) -> None:
        documents = rendered("-f", GATEWAY)
        health = {"gateway": ("/healthz", "/readyz"), "console": ("/_stcore/health", "/_stcore/health")}
        for component, (alive, ready) in health.items():
            container = container_of(documents, component)
            assert container["args"] == [component]
            (port,) = container["ports"]
            assert port == {"name": "http", "containerPort": exposed()[component]}
            asked = {
                name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
            }
            assert {name: probe["path"] for name, probe in asked.items()} == {
                "startup": alive, "liveness": alive, "readiness": ready,
            }  # fmt: skip
            assert {probe["port"] for probe in asked.values()} == {"http"}
            service = only("Service", documents, component)
            assert service["spec"]["ports"] == [
                {"name": "http", "port": exposed()[component], "targetPort": "http"}
            ]
            assert service["spec"]["sessionAffinity"] == "ClientIP"
            labels = only("Deployment", documents, component)["spec"]["template"]["metadata"]["labels"]
            assert service["spec"]["selector"].items() <= labels.items()
            policy = only("NetworkPolicy", documents, component)["spec"]
            assert policy["podSelector"]["matchLabels"].items() <= labels.items()

    def test_the_gateway_takes_its_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        documents = rendered("-f", GATEWAY)
        container = container_of(documents, "gateway")
        settings = settings_of("gateway", environment_of(container), monkeypatch)
        parse(container["args"])
        assert (settings.gateway_host, settings.gateway_port) == ("0.0.0.0", 8000)  # noqa: S104
        assert settings.gateway_allowed_origins == ("https://shop.example",)
        assert settings.image_allowed_hosts == ("*.cdn.example",)  # as workers have it
        assert settings.broker_username == "shelver-gateway"
        assert not settings.gateway_catalogues
        worker = settings_of("worker", environment_of(container_of(documents)), monkeypatch)
        assert worker.broker_username == "shelver"
        topics = [name for name in Settings.model_fields if name.endswith("_topic")]
        for name in (*topics, "broker", "broker_ca_file", "model", "model_repository"):
            assert getattr(settings, name) == getattr(worker, name), name
        secrets = {
            source["secret"]["name"]
            for volume in pod_of(documents, "gateway")["volumes"]
            for source in volume.get("projected", {}).get("sources", ())
        }
        assert secrets == {"shelver-gateway", "main-cluster-ca-cert"}

    def test_settings_of_the_gateway_alone_count_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given = (
            "settings.gateway_history_records=7,settings.shop_page_allow_http=true,settings.gateway_burst=9"
        )
        own = "gateway.settings.gateway_history_records=0,gateway.settings.shop_page_allow_http=false"
        documents = rendered("-f", GATEWAY, "--set", given, "--set", own)
        settings = settings_of("gateway", environment_of(container_of(documents, "gateway")), monkeypatch)
        assert (settings.gateway_history_records, settings.shop_page_allow_http) == (0, False)
        assert settings.gateway_burst == 9

    def test_the_console_asks_the_gateway(self, monkeypatch: pytest.MonkeyPatch) -> None:
        documents = rendered("-f", GATEWAY)
        container = container_of(documents, "console")
        settings = settings_of("console", environment_of(container), monkeypatch)
        parse(container["args"])
        service = only("Service", documents, "gateway")
        assert settings.console_gateway_url == (
            f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
        )
        assert settings.console_allowed_hosts == ("console.example",)
        assert not any("SHELVER_BROKER" in name for name in environment_of(container))
        others = settings_of(
            "console",
            environment_of(container_of(rendered("-f", GATEWAY, "--set", "console.hosts=null"), "console")),
            monkeypatch,
        )
        assert others.console_allowed_hosts == ()

    def test_keys_are_mounted_where_they_are_looked_for(self) -> None:
        documents = rendered("-f", GATEWAY)
        for component, name in (
            ("gateway", "SHELVER_GATEWAY_API_KEYS_FILE"),
            ("console", "SHELVER_CONSOLE_API_KEY_FILE"),
        ):
            container = container_of(documents, component)
            folders = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            files = {
                f"{folders[volume['name']]}/{item['path']}"
                for volume in pod_of(documents, component)["volumes"]
                for item in volume.get("secret", {}).get("items", ())
            }
            assert files == {environment_of(container)[name]}
        without = rendered("-f", GATEWAY, "--set", "console.keySecret.name=")
        assert "SHELVER_CONSOLE_API_KEY_FILE" not in environment_of(container_of(without, "console"))

    def test_gateway_and_console_talk_to_what_they_need_alone(self) -> None:
        documents = rendered("-f", GATEWAY)
        policy = only("NetworkPolicy", documents, "gateway")["spec"]
        names, brokers, pages = policy["egress"]
        assert ([port["port"] for port in brokers["ports"]], pages["ports"][0]["port"]) == ([9093], 443)
        (asked,) = policy["ingress"]
        pods = [peer["podSelector"]["matchLabels"] for peer in asked["from"] if "podSelector" in peer]
        assert pods == [only("Deployment", documents, "console")["spec"]["selector"]["matchLabels"]]
        assert len(asked["from"]) == 3  # an ingress, Prometheus, the console
        closed = rendered("-f", GATEWAY, "--set", "gateway.shopPages=false")
        assert len(only("NetworkPolicy", closed, "gateway")["spec"]["egress"]) == 2
        console = only("NetworkPolicy", documents, "console")["spec"]
        also_names, gateway = console["egress"]
        assert also_names == names
        assert gateway["ports"] == [{"port": exposed()["gateway"], "protocol": "TCP"}]
        (peer,) = gateway["to"]
        assert peer["podSelector"] == only("Deployment", documents, "gateway")["spec"]["selector"]

    def test_whoever_is_not_named_may_ask_where_nobody_is(self) -> None:
        documents = rendered("-f", GATEWAY, "--set", "gateway.from=null,console.from=null")
        for component in ("gateway", "console"):
            (rule,) = only("NetworkPolicy", documents, component)["spec"]["ingress"]
            assert "from" not in rule

    def test_gateways_are_taken_away_one_by_one_where_there_are_several(self) -> None:
        several = only("PodDisruptionBudget", rendered("-f", GATEWAY), "gateway")
        assert several["spec"]["maxUnavailable"] == 1
        alone = all_of("gateway", rendered("-f", GATEWAY, "--set", "gateway.replicas=1"))
        assert "PodDisruptionBudget" not in {document["kind"] for document in alone}
        assert only("Deployment", rendered("-f", GATEWAY), "console")["spec"]["replicas"] == 1

    def test_a_gateway_is_no_worker_to_prometheus(self) -> None:
        documents = rendered("-f", GATEWAY)
        monitor = only("ServiceMonitor", documents, "gateway")["spec"]
        service = only("Service", documents, "gateway")
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        (endpoint,) = monitor["endpoints"]
        assert endpoint["port"] == service["spec"]["ports"][0]["name"]
        assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "shelver-gateway"}]
        workers = only("ServiceMonitor", documents)["spec"]["selector"]["matchLabels"]
        assert not workers.items() <= service["metadata"]["labels"].items()

    def test_everything_selects_the_workers(self) -> None:
        documents = rendered("-f", SECURED)
        deployment = only("Deployment", documents)
        labels = deployment["spec"]["template"]["metadata"]["labels"].items()
        service = only("Service", documents)
        for selector in (
            deployment["spec"]["selector"]["matchLabels"],
            only("PodDisruptionBudget", documents)["spec"]["selector"]["matchLabels"],
            only("NetworkPolicy", documents)["spec"]["podSelector"]["matchLabels"],
            service["spec"]["selector"],
        ):
            assert selector.items() <= labels
        monitor = only("ServiceMonitor", documents)["spec"]
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert service["metadata"]["labels"][monitor["jobLabel"]] == "shelver"  # as alerts name it
        assert (
            only("ScaledObject", documents)["spec"]["scaleTargetRef"]["name"]
            == deployment["metadata"]["name"]
        )

    def test_lag_is_that_of_the_worker_and_credentials_are_its_own(self) -> None:
        documents = rendered("-f", SECURED)
        environment = environment_of(container_of(documents))
        scaled = only("ScaledObject", documents)["spec"]
        assert scaled["maxReplicaCount"] <= int(environment["SHELVER_TOPIC_PARTITIONS"])
        assert "replicas" not in only("Deployment", documents)["spec"]
        triggers = [trigger["metadata"] for trigger in scaled["triggers"]]
        assert {trigger["topic"]: int(trigger["lagThreshold"]) for trigger in triggers} == {
            environment["SHELVER_PRODUCT_LISTED_TOPIC"]: VALUES["autoscaling"]["lagThreshold"],
            environment["SHELVER_EXPLANATION_REQUESTED_TOPIC"]: VALUES["autoscaling"][
                "explanationLagThreshold"
            ],
        }
        for trigger in triggers:
            assert trigger["consumerGroup"] == environment["SHELVER_GROUP"]
            assert trigger["bootstrapServers"] == "kafka-0.example.com:9093,kafka-1.example.com:9093"
            assert (trigger["sasl"], trigger["tls"]) == ("scram_sha512", "enable")

    @pytest.mark.parametrize(
        ("example", "variables", "secrets"),
        [
            (
                SECURED,
                {"username": "shelver"},
                {"password": ("shelver", "password"), "ca": ("main-cluster-ca-cert", "ca.crt")},
            ),
            (
                CERTIFICATE,
                {},
                {
                    "ca": ("main-cluster-ca-cert", "ca.crt"),
                    "cert": ("shelver", "user.crt"),
                    "key": ("shelver", "user.key"),
                },
            ),
            (
                OAUTH,
                {
                    "username": "shelver",
                    "oauthTokenEndpointUri": "https://login.example.com/token",
                    "scopes": "kafka",
                },
                {"password": ("shelver", "clientSecret")},
            ),
        ],
        ids=lambda value: value.stem if isinstance(value, Path) else "",
    )
    def test_keda_logs_in_as_the_worker_does(
        self, example: Path, variables: Mapping[str, str], secrets: Mapping[str, tuple[str, str]]
    ) -> None:
        documents = rendered("-f", example)
        environment = environment_of(container_of(documents))
        login = only("TriggerAuthentication", documents)["spec"]
        assert {one["parameter"]: environment[one["name"]] for one in login.get("env", ())} == variables
        assert {one["parameter"]: (one["name"], one["key"]) for one in login["secretTargetRef"]} == secrets

    def test_a_worker_talks_to_brokers_names_and_public_pictures_alone(self) -> None:
        policy = only(
            "NetworkPolicy", rendered("--set", PVC, "--set", "kafka.brokers=a;b:9093;kafka://c:9093")
        )["spec"]
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert policy["ingress"] == [{"ports": [{"port": "metrics", "protocol": "TCP"}]}]
        names, brokers, pictures = policy["egress"]
        assert {port["port"] for port in names["ports"]} == {53}
        assert [port["port"] for port in brokers["ports"]] == [9092, 9093]
        assert [port["port"] for port in pictures["ports"]] == [443]
        public, _ = (peer["ipBlock"] for peer in pictures["to"])
        assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(public["except"])
        without = only("NetworkPolicy", rendered("--set", PVC, "--set", "networkPolicy.pictures=false"))[
            "spec"
        ]
        assert len(without["egress"]) == 2

    def test_a_gpu_is_asked_for_where_one_is_wanted(self) -> None:
        with_gpu = rendered("-f", SECURED)
        pod = pod_of(with_gpu)
        (container,) = pod["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert container["image"].endswith("-cuda")
        assert environment_of(container)["SHELVER_DEVICE"] == "cuda"
        assert pod["runtimeClassName"] == "nvidia"
        assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
        without = rendered("--set", PVC)
        assert "tolerations" not in pod_of(without)
        assert container_of(without)["image"].endswith("-cpu")
        assert "nvidia" not in json.dumps(without)

    def test_rules_are_the_alerts(self) -> None:
        rule = only("PrometheusRule", rendered("-f", SECURED))
        assert rule["spec"] == yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())

    def test_dashboards_are_whole(self) -> None:
        shown = [document for document in rendered("-f", SECURED) if document["kind"] == "ConfigMap"]
        files = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
        assert {name: json.loads(text) for each in shown for name, text in each["data"].items()} == {
            file.name: json.loads(file.read_text()) for file in files
        }

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ("stopSeconds=40", "less than terminationGracePeriodSeconds"),
            ("gateway.stopSeconds=35", "gateway.stopSeconds and the 5 seconds before it are 40"),
            ("console.stopSeconds=36", "console.stopSeconds and the 5 seconds before it are 41"),
            ("gateway.enabled=true", "gateway.keysSecret.name has to say"),
            ("console.enabled=true", "console.enabled wants gateway.enabled"),
            ("gateway.enabled=true,gateway.keysSecret.name=k,settings.gateway_stop_seconds=1", "of its own"),
            ("drainSeconds=25", "less than stopSeconds"),
            ("replicas=5", "some would have nothing to do"),
            ("autoscaling.enabled=true,autoscaling.maxReplicas=5", "some would have nothing to do"),
            ("autoscaling.minReplicas=5", "is more than autoscaling.maxReplicas"),
            ("model.repository.url=s3://models", "are both set"),
            ("settings.group=other", "is said by a value of its own"),
            ("settings.MAX_BATCH=1", "does not match pattern"),
            ("settings.metrics_port=9200", "metrics_port"),
        ],
    )
    def test_what_cannot_go_together_is_refused(self, values: str, reason: str) -> None:
        assert reason in refusal("--set", PVC, "--set", values)

    def test_without_models_nothing_is_installed(self) -> None:
        assert "where the models are" in refusal()
