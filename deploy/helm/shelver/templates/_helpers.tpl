{{- define "shelver.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "shelver.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "shelver.labels" -}}
{{ include "shelver.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "shelver.image" -}}
{{- $tag := .Values.image.tag | default (printf "%s-%s" .Chart.AppVersion (ternary "cuda" "cpu" .Values.gpu.enabled)) -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository $tag -}}
{{- end -}}
{{- end -}}

{{- define "shelver.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "shelver.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* What values may not say together; a schema cannot compare numbers. */}}
{{- define "shelver.check" -}}
{{- $v := .Values -}}
{{- if ge (float64 $v.stopSeconds) (float64 $v.terminationGracePeriodSeconds) -}}
{{- fail (printf "stopSeconds (%v) has to be less than terminationGracePeriodSeconds (%v): a worker would be killed while it stops" $v.stopSeconds $v.terminationGracePeriodSeconds) -}}
{{- end -}}
{{- if ge (float64 $v.drainSeconds) (float64 $v.stopSeconds) -}}
{{- fail (printf "drainSeconds (%v) has to be less than stopSeconds (%v): a stop would end before what is begun is finished" $v.drainSeconds $v.stopSeconds) -}}
{{- end -}}
{{- if not (or $v.model.repository.claim $v.model.repository.url) -}}
{{- fail "model.repository.claim or model.repository.url has to say where the models are" -}}
{{- end -}}
{{- if and $v.model.repository.claim $v.model.repository.url -}}
{{- fail "model.repository.claim and model.repository.url are both set; keep one of them" -}}
{{- end -}}
{{- $workers := ternary $v.autoscaling.maxReplicas $v.replicas $v.autoscaling.enabled -}}
{{- if gt (int $workers) (int $v.kafka.partitions) -}}
{{- fail (printf "%v workers share %v partitions (kafka.partitions): some would have nothing to do" $workers $v.kafka.partitions) -}}
{{- end -}}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) -}}
{{- fail (printf "autoscaling.minReplicas (%v) is more than autoscaling.maxReplicas (%v)" $v.autoscaling.minReplicas $v.autoscaling.maxReplicas) -}}
{{- end -}}
{{- end -}}

{{/* The ports of the brokers, once each, as a JSON list. */}}
{{- define "shelver.brokerPorts" -}}
{{- $ports := list -}}
{{- range splitList ";" .Values.kafka.brokers -}}
{{- $ports = append $ports (regexFind "[0-9]+$" (regexFind ":[0-9]+/?$" (trim .) | trimSuffix "/") | default "9092" | int) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/* host:port of each broker, with commas. */}}
{{- define "shelver.bootstrap" -}}
{{- $servers := list -}}
{{- range splitList ";" .Values.kafka.brokers -}}
{{- $server := regexReplaceAll "^(aio)?kafka://" (trim .) "" | trimSuffix "/" -}}
{{- $servers = append $servers (ternary $server (printf "%s:9092" $server) (regexMatch ":[0-9]+$" $server)) -}}
{{- end -}}
{{- join "," $servers -}}
{{- end -}}

{{/* The worker's settings: what the chart's own values say, then `settings`. JSON writes large numbers as they are. */}}
{{- define "shelver.settings" -}}
{{- $v := .Values -}}
{{- $security := $v.kafka.security -}}
{{- $own := dict
  "broker" $v.kafka.brokers
  "group" $v.kafka.group
  "product_listed_topic" $v.kafka.topics.productListed
  "category_assigned_topic" $v.kafka.topics.categoryAssigned
  "dead_letter_topic" $v.kafka.topics.deadLetter
  "explanation_requested_topic" $v.kafka.topics.explanationRequested
  "category_explained_topic" $v.kafka.topics.categoryExplained
  "category_corrected_topic" $v.kafka.topics.categoryCorrected
  "topic_partitions" $v.kafka.partitions
  "broker_security_protocol" $security.protocol
  "broker_sasl_mechanism" $security.saslMechanism
  "broker_username" $security.username
  "broker_oauth_token_url" $security.oauth.tokenUrl
  "broker_oauth_client_id" $security.oauth.clientId
  "broker_oauth_scope" $security.oauth.scope
  "broker_password_file" (ternary "/etc/shelver/kafka/password" "" (ne $security.passwordSecret.name ""))
  "broker_ca_file" (ternary "/etc/shelver/kafka/ca.crt" "" (ne $security.caSecret.name ""))
  "broker_certificate_file" (ternary "/etc/shelver/kafka/client.crt" "" (ne $security.certificateSecret.name ""))
  "broker_key_file" (ternary "/etc/shelver/kafka/client.key" "" (ne $security.certificateSecret.name ""))
  "broker_oauth_client_secret_file" (ternary "/etc/shelver/kafka/oauth" "" (ne $security.oauth.clientSecret.name ""))
  "model" $v.model.name
  "model_repository" ($v.model.repository.url | default "/repository")
  "device" (ternary "cuda" "" $v.gpu.enabled)
  "drain_seconds" $v.drainSeconds
  "stop_seconds" $v.stopSeconds
-}}
{{- range $name, $value := $v.settings -}}
{{- if hasKey $own $name -}}
{{- fail (printf "settings.%s is said by a value of its own" $name) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := merge $own $v.settings }}
{{- if ne (toString $value) "" }}
- name: SHELVER_{{ upper $name }}
  value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "shelver.kafkaFiles" -}}
{{- $security := .Values.kafka.security -}}
{{- with $security.passwordSecret }}{{ if .name }}
- secret:
    name: {{ .name }}
    items: [{key: {{ .key | quote }}, path: password}]
{{- end }}{{ end }}
{{- with $security.caSecret }}{{ if .name }}
- secret:
    name: {{ .name }}
    items: [{key: {{ .key | quote }}, path: ca.crt}]
{{- end }}{{ end }}
{{- with $security.certificateSecret }}{{ if .name }}
- secret:
    name: {{ .name }}
    items:
      - {key: {{ .certificateKey | quote }}, path: client.crt}
      - {key: {{ .privateKey | quote }}, path: client.key}
{{- end }}{{ end }}
{{- with $security.oauth.clientSecret }}{{ if .name }}
- secret:
    name: {{ .name }}
    items: [{key: {{ .key | quote }}, path: oauth}]
{{- end }}{{ end }}
{{- end -}}
