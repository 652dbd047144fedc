{{/*
44 characters at most, so that NAME-workers has 52: the names of pods and of revisions,
which Kubernetes puts into labels of 63, are that and 11 more.
*/}}
{{- define "oc.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 44 | trimSuffix "-" -}}
{{- else -}}
{{- .Release.Name | trunc 26 | trimSuffix "-" }}-{{ .Chart.Name -}}
{{- end -}}
{{- end -}}

{{- define "oc.labels" -}}
{{ include "oc.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "oc.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "oc.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* "true" where no NATS of one's own is named. */}}
{{- define "oc.embedded" -}}
{{- $nats := .Values.config.nats | default dict -}}
{{- if not (or $nats.url $nats.context) -}}true{{- end -}}
{{- end -}}

{{/* What cannot work is refused with what to do. */}}
{{- define "oc.check" -}}
{{- if include "oc.embedded" . -}}
{{- if or (gt (int .Values.workers.replicas) 1) .Values.autoscaling.enabled -}}
{{- fail "the embedded NATS lives in one pod, and other pods cannot reach it: set config.nats.url to a NATS of your own, or workers.replicas: 1 and autoscaling.enabled: false" -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := .Values.ownerEnv -}}
{{- if hasKey $.Values.env $name -}}
{{- fail (printf "%s is in env and in ownerEnv: keep it in ownerEnv if only the owner of the tokens needs it" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The configuration file. The grants are in a folder of their own, which the program makes
for itself alone: Kubernetes opens the volume's root to the group, and the token store
refuses such a folder.
*/}}
{{- define "oc.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := set $config "token_store" (dict "path" "/var/lib/outlook-connector/grants/tokens.db" "key" "${env:OUTLOOK_TOKEN_KEY}") -}}
{{- if include "oc.embedded" . -}}
{{- $_ := set $config "nats" (merge (dict "embedded" (dict "store_dir" "/var/lib/outlook-connector/nats")) (omit ($config.nats | default dict) "url" "context" "replicas" "inbox_prefix" "credentials_file" "tls")) -}}
{{- end -}}
{{- $http := dict "listen" "0.0.0.0:8480" "credential" "${env:OUTLOOK_HTTP_CREDENTIAL}" -}}
{{- $http = mergeOverwrite $http (deepCopy ($config.http | default dict)) -}}
{{- if not $http.tls -}}{{- $_ := set $http "insecure" true -}}{{- end -}}
{{- $_ := set $config "http" $http -}}
{{ toYaml $config }}
{{- end -}}

{{/* One container: (dict "root" $ "roles" "…" "owner" true "resources" …) */}}
{{- define "oc.container" -}}
{{- $root := .root -}}
name: outlook-connector
image: {{ include "oc.image" $root }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args: [run{{ with .roles }}, --roles, {{ . | quote }}{{ end }}]
ports:
  - {name: http, containerPort: 8480}
env:
  - name: OUTLOOK_CONNECTOR_CONFIG
    value: /etc/outlook-connector/outlook-connector.yaml
  - name: OUTLOOK_HTTP_CREDENTIAL
    valueFrom: {secretKeyRef: {name: {{ $root.Values.httpCredential.secret }}, key: {{ $root.Values.httpCredential.key }}}}
  - name: OUTLOOK_TOKEN_KEY
    {{- if .owner }}
    valueFrom: {secretKeyRef: {name: {{ $root.Values.tokenKey.secret }}, key: {{ $root.Values.tokenKey.key }}}}
    {{- else }}
    # A worker opens no token store; the configuration wants some key all the same.
    value: {{ sha256sum "a worker has no token store" }}
    {{- end }}
  {{- range $name, $from := $root.Values.env }}
  - name: {{ $name }}
    valueFrom: {secretKeyRef: {name: {{ $from.secret }}, key: {{ $from.key }}}}
  {{- end }}
  {{- $owner := .owner }}
  {{- range $name, $from := $root.Values.ownerEnv }}
  - name: {{ $name }}
    {{- if $owner }}
    valueFrom: {secretKeyRef: {name: {{ $from.secret }}, key: {{ $from.key }}}}
    {{- else }}
    value: the-owner-of-the-tokens-has-it
    {{- end }}
  {{- end }}
startupProbe:
  httpGet: {path: /livez, port: http, scheme: {{ include "oc.scheme" $root }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: http, scheme: {{ include "oc.scheme" $root }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http, scheme: {{ include "oc.scheme" $root }}}
  periodSeconds: 5
  timeoutSeconds: 5
resources:
  {{- toYaml .resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: config, mountPath: /etc/outlook-connector, readOnly: true}
  {{- if .owner }}
  - {name: data, mountPath: /var/lib/outlook-connector}
  {{- end }}
  {{- range $name, $file := $root.Values.files }}
  {{- if or $owner (not $file.owner) }}
  - {name: {{ printf "file-%s" $name }}, mountPath: /run/secrets/outlook-connector/{{ $name }}, readOnly: true}
  {{- end }}
  {{- end }}
{{- end -}}

{{- define "oc.scheme" -}}
{{- if (.Values.config.http | default dict).tls -}}HTTPS{{- else -}}HTTP{{- end -}}
{{- end -}}

{{/* What both kinds of pod share: (dict "root" $ "owner" true) */}}
{{- define "oc.pod" -}}
{{- $root := .root -}}
serviceAccountName: {{ include "oc.name" $root }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 30   # the program takes 25 s at most
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch   # Always would open the token store's file to the group
  seccompProfile: {type: RuntimeDefault}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "oc.volumes" -}}
{{- $owner := .owner -}}
- name: config
  configMap: {name: {{ include "oc.name" .root }}}
{{- range $name, $file := .root.Values.files }}
{{- if or $owner (not $file.owner) }}
- name: {{ printf "file-%s" $name }}
  secret: {secretName: {{ $file.secret }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- end -}}

{{- define "oc.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
