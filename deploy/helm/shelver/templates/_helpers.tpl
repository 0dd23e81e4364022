{{- define "shelver.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of the gateway and the console, `component` says which; workers have none and bear the name of the release. */}}
{{- define "shelver.componentName" -}}
{{- include "shelver.name" . -}}
{{- with .component }}-{{ . }}{{ end -}}
{{- end -}}

{{- define "shelver.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .component | default "worker" }}
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
{{- range $name := list "gateway" "console" -}}
{{- $stop := addf 5 (get (get $v $name) "stopSeconds") -}}
{{- if ge $stop (float64 $v.terminationGracePeriodSeconds) -}}
{{- fail (printf "%s.stopSeconds and the 5 seconds before it are %v, which has to be less than terminationGracePeriodSeconds (%v)" $name $stop $v.terminationGracePeriodSeconds) -}}
{{- end -}}
{{- end -}}
{{- if and $v.gateway.enabled (not $v.gateway.keysSecret.name) -}}
{{- fail "gateway.keysSecret.name has to say which Secret holds the API keys: `shelver keys add` makes the file for it" -}}
{{- end -}}
{{- if and $v.console.enabled (not $v.gateway.enabled) -}}
{{- fail "console.enabled wants gateway.enabled: the console asks the gateway for everything" -}}
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

{{/* What gateway and workers know of Kafka and models, as JSON. */}}
{{- define "shelver.kafkaSettings" -}}
{{- $v := .Values -}}
{{- $security := .security | default $v.kafka.security -}}
{{- dict
  "broker" $v.kafka.brokers
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
| toJson -}}
{{- end -}}

{{/* Variables of settings: `own`, which the chart's own values say, and `more`, of which the last counts. */}}
{{- define "shelver.variables" -}}
{{- $all := deepCopy .own -}}
{{- $own := .own -}}
{{- range .more -}}
{{- range $name, $value := . -}}
{{- if hasKey $own $name -}}
{{- fail (printf "settings.%s is said by a value of its own" $name) -}}
{{- end -}}
{{- /* Not merge, to which 0 and false are nothing. */ -}}
{{- $_ := set $all $name $value -}}
{{- end -}}
{{- end -}}
{{- /* JSON writes large numbers as they are. */ -}}
{{- range $name, $value := $all }}
{{- if ne (toString $value) "" }}
- name: SHELVER_{{ upper $name }}
  value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "shelver.podMetadata" -}}
labels:
  {{- include "shelver.labels" . | nindent 2 }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Who a Pod runs as, and where. */}}
{{- define "shelver.pod" -}}
serviceAccountName: {{ include "shelver.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: {{ .Values.fsGroup }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- $hasGpu := and .Values.gpu.enabled (not .component) }}
{{- if and $hasGpu .Values.gpu.runtimeClassName }}
runtimeClassName: {{ .Values.gpu.runtimeClassName }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat .Values.tolerations (ternary .Values.gpu.tolerations list $hasGpu) }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if and .Values.affinity (not .component) }}
affinity:
  {{- toYaml .Values.affinity | nindent 2 }}
{{- else }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "shelver.selector" . | nindent 8 }}
{{- end }}
{{- end -}}

{{- define "shelver.container" -}}
image: {{ include "shelver.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [{{ .component | default "worker" }}]
securityContext:
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Further variables, and those that the model store takes. */}}
{{- define "shelver.envFrom" -}}
{{- with concat .Values.envFrom (ternary (list (dict "secretRef" (dict "name" .Values.model.repository.credentialsSecret))) list (ne .Values.model.repository.credentialsSecret "")) }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where gateway and console are asked, and how they go: 5 seconds late, when nobody is sent to them any more. */}}
{{- define "shelver.httpServer" -}}
ports:
  - name: http
    containerPort: {{ .port }}
startupProbe:
  httpGet: {path: {{ .alive }}, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 36
livenessProbe:
  httpGet: {path: {{ .alive }}, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: {{ .ready }}, port: http}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
lifecycle:
  preStop:
    exec:
      command: [sleep, "5"]
{{- end -}}

{{/* Mounts of a process that knows Kafka and models, which it may change where `changesModels` says so. */}}
{{- define "shelver.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.model.repository.claim }}
- name: repository
  mountPath: /repository
  {{- if not .changesModels }}
  readOnly: true
  {{- end }}
  {{- with .Values.model.repository.subPath }}
  subPath: {{ . | quote }}
  {{- end }}
{{- end }}
{{- if include "shelver.kafkaFiles" . | trim }}
- name: kafka
  mountPath: /etc/shelver/kafka
  readOnly: true
{{- end }}
{{- end -}}

{{- define "shelver.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.tmpSize }}
{{- if .Values.model.repository.claim }}
- name: repository
  persistentVolumeClaim:
    claimName: {{ .Values.model.repository.claim }}
    {{- if not .changesModels }}
    readOnly: true
    {{- end }}
{{- end }}
{{- with include "shelver.kafkaFiles" . | trim }}
- name: kafka
  projected:
    defaultMode: 0440
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "shelver.kafkaFiles" -}}
{{- $security := .security | default .Values.kafka.security -}}
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

{{- define "shelver.namesEgress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}

{{- define "shelver.kafkaEgress" -}}
- ports:
    {{- range include "shelver.brokerPorts" . | fromJsonArray }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
  {{- with .Values.networkPolicy.kafkaTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "shelver.publicEgress" -}}
- ports:
    - {port: 443, protocol: TCP}
  to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, 224.0.0.0/3]
    - ipBlock:
        cidr: 2000::/3
{{- end -}}

{{/* Of gateway or console. Who has asked one Pod asks it again: it alone knows what is on its way, and uploads. */}}
{{- define "shelver.httpService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "shelver.componentName" . }}
  labels:
    {{- include "shelver.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "shelver.selector" . | nindent 4 }}
  sessionAffinity: ClientIP
  ports:
    - name: http
      port: {{ .port }}
      targetPort: http
{{- end -}}

{{- define "shelver.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "shelver.componentName" . }}
  labels:
    {{- include "shelver.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .Values.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "shelver.selector" . | nindent 6 }}
{{- end -}}
