{{- define "hubbub.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $full | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "hubbub.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a tier. Takes {root, tier}. */}}
{{- define "hubbub.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .tier }}
{{- end -}}

{{- define "hubbub.labels" -}}
{{ include "hubbub.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/*
The tiers that run here, a YAML list: name (the subcommand), key (in values), and what each stands on.
*/}}
{{- define "hubbub.tiers" -}}
{{- if .Values.allInOne.enabled }}
- {name: all-in-one, key: allInOne, data: true, door: true, accounts: true, amqp: true, nats: false, cql: false, partitions: false}
{{- end }}
{{- if .Values.gateway.enabled }}
- {name: gateway, key: gateway, data: false, door: true, accounts: true, amqp: false, nats: true, cql: true, partitions: false}
{{- end }}
{{- if .Values.roomWorker.enabled }}
- {name: room-worker, key: roomWorker, data: false, door: false, accounts: false, amqp: false, nats: true, cql: true, partitions: true}
{{- end }}
{{- if .Values.historyService.enabled }}
- {name: history-service, key: historyService, data: false, door: false, accounts: false, amqp: false, nats: true, cql: true, partitions: true}
{{- end }}
{{- if .Values.botBridge.enabled }}
- {name: bot-bridge, key: botBridge, data: false, door: false, accounts: true, amqp: true, nats: true, cql: true, partitions: false}
{{- end }}
{{- end -}}

{{/* What goes wrong only once it is installed is said here. */}}
{{- define "hubbub.check" -}}
{{- $v := .Values -}}
{{- $cluster := or $v.gateway.enabled $v.roomWorker.enabled $v.historyService.enabled $v.botBridge.enabled -}}
{{- if and $v.allInOne.enabled $cluster -}}
{{- fail "allInOne and tiers can't both be enabled: set gateway.enabled and the others to false" -}}
{{- end -}}
{{- if and $cluster (not $v.nats.servers) -}}
{{- fail "nats.servers is empty: name the addresses of NATS" -}}
{{- end -}}
{{- if and (or $cluster $v.schemaJob.enabled) (not $v.allInOne.enabled) (not $v.cql.nodes) -}}
{{- fail "cql.nodes is empty: name the addresses of ScyllaDB or Cassandra" -}}
{{- end -}}
{{- if and $v.botBridge.enabled (not (or $v.amqp.settings $v.amqp.urlSecret)) -}}
{{- fail "botBridge needs the broker: set amqp.urlSecret, or amqp.settings" -}}
{{- end -}}
{{- if $v.amqp.urlSecret -}}
{{- if $v.amqp.passwordSecret -}}
{{- fail "amqp.urlSecret has the password in it: leave amqp.passwordSecret out" -}}
{{- end -}}
{{- range $named := list "amqp-server" "amqp-protocol" "amqp-port" "amqp-username" -}}
{{- if hasKey $v.amqp.settings $named -}}
{{- fail (printf "amqp.urlSecret names the broker: leave %s out of amqp.settings" $named) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $of := dict "nats" $v.nats "cql" $v.cql -}}
{{- if and $of.user (not $of.passwordSecret) -}}
{{- fail (printf "%s.user needs %s.passwordSecret" $name $name) -}}
{{- end -}}
{{- end -}}
{{- if and $v.cql.tls.clientSecret (not $v.cql.tls.caSecret) -}}
{{- fail "cql.tls.clientSecret needs cql.tls.caSecret: without one there is no TLS to the database" -}}
{{- end -}}
{{- range $tier := include "hubbub.tiers" . | fromYamlArray -}}
{{- if and $tier.accounts $v.networkPolicy.enabled (not $v.networkPolicy.egress) -}}
{{- $settings := mergeOverwrite (dict) $v.accounts.settings $v.settings (index $v $tier.key).settings -}}
{{- range $calls := list "auth-server" "jwks-url" -}}
{{- if index $settings $calls -}}
{{- fail (printf "%s needs a way out: name the account service in networkPolicy.egress" $calls) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with (index $v $tier.key).autoscaling -}}
{{- if and .enabled (not $v.autoscaling.prometheus) -}}
{{- fail (printf "%s.autoscaling needs autoscaling.prometheus, the address of Prometheus" $tier.key) -}}
{{- end -}}
{{- if lt (int .max) (int .min) -}}
{{- fail (printf "%s.autoscaling.max is below its min" $tier.key) -}}
{{- end -}}
{{- if and (eq $tier.key "roomWorker") (gt (int .max) (int $v.partitions)) -}}
{{- fail "roomWorker.autoscaling.max is above partitions: workers without a partition do nothing" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.host) -}}
{{- fail "ingress.host is empty" -}}
{{- end -}}
{{- end -}}

{{/* A value as TOML has it. Whole numbers of values are floats to Helm. */}}
{{- define "hubbub.toml" -}}
{{- if kindIs "float64" . -}}
{{- if eq (float64 (int64 .)) . -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}

{{/* The settings of NATS, as YAML. */}}
{{- define "hubbub.nats" -}}
nats: {{ join "," .Values.nats.servers | quote }}
nats-replicas: {{ .Values.nats.replicas }}
{{- with .Values.nats.user }}
nats-user: {{ . | quote }}
{{- end }}
{{- with .Values.nats.tls }}
{{- if .enabled }}
nats-tls: true
{{- end }}
{{- if .caSecret }}
nats-ca: /etc/hubbub/tls/nats-ca.pem
{{- end }}
{{- if .clientSecret }}
nats-cert: /etc/hubbub/tls/nats.crt
nats-key: /etc/hubbub/tls/nats.key
{{- end }}
{{- end }}
{{- end -}}

{{/* The settings of the database, as YAML. */}}
{{- define "hubbub.cql" -}}
cql: {{ join "," .Values.cql.nodes | quote }}
cql-keyspace: {{ .Values.cql.keyspace | quote }}
cql-replication: {{ .Values.cql.replication }}
{{- with .Values.cql.datacenter }}
cql-datacenter: {{ . | quote }}
{{- end }}
{{- with .Values.cql.user }}
cql-user: {{ . | quote }}
{{- end }}
{{- with .Values.cql.tls }}
{{- if .caSecret }}
cql-ca: /etc/hubbub/tls/cql-ca.pem
{{- end }}
{{- if .clientSecret }}
cql-cert: /etc/hubbub/tls/cql.crt
cql-key: /etc/hubbub/tls/cql.key
{{- end }}
{{- end }}
{{- end -}}

{{/* The file of settings of a tier: what the chart knows, then what values say. Takes {root, tier}; `tier` as in hubbub.tiers. */}}
{{- define "hubbub.settings" -}}
{{- $v := .root.Values -}}
{{- $own := index $v .tier.key -}}
{{- $all := dict -}}
{{- if .tier.nats -}}
{{- $all = mergeOverwrite $all (include "hubbub.nats" .root | fromYaml) -}}
{{- end -}}
{{- if .tier.cql -}}
{{- $_ := set $all "cluster" $v.cluster -}}
{{- $all = mergeOverwrite $all (include "hubbub.cql" .root | fromYaml) -}}
{{- end -}}
{{- if .tier.data -}}
{{- $_ := set $all "data" "/data" -}}
{{- end -}}
{{- if .tier.partitions -}}
{{- $_ := set $all "partitions" $v.partitions -}}
{{- end -}}
{{- if .tier.door -}}
{{- $_ := set $all "drain-window" (printf "%ds" (int $own.drainWindow)) -}}
{{- with $own.trustedProxies -}}
{{- $_ := set $all "trusted-proxies" (join "," .) -}}
{{- end -}}
{{- end -}}
{{- if .tier.accounts -}}
{{- $all = mergeOverwrite $all $v.accounts.settings -}}
{{- if $v.accounts.jwtKeySecret -}}{{- $_ := set $all "jwt-key-file" "/etc/hubbub/tls/jwt.pem" -}}{{- end -}}
{{- if $v.accounts.caSecret -}}{{- $_ := set $all "accounts-ca" "/etc/hubbub/tls/accounts-ca.pem" -}}{{- end -}}
{{- end -}}
{{- if .tier.amqp -}}
{{- $all = mergeOverwrite $all $v.amqp.settings -}}
{{- if $v.amqp.caSecret -}}{{- $_ := set $all "amqp-ca" "/etc/hubbub/tls/amqp-ca.pem" -}}{{- end -}}
{{- end -}}
{{- $all = mergeOverwrite $all $v.settings $own.settings -}}
{{- $_ := set $all "interface" "0.0.0.0" -}}
{{- $_ := set $all "port" 3000 -}}
{{- range $name, $value := $all }}
{{ $name }} = {{ include "hubbub.toml" $value }}
{{- end }}
{{- end -}}

{{- define "hubbub.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef: {name: {{ .secret.name | quote }}, key: {{ .secret.key | quote }}}
{{- end -}}

{{/* What must not stand in a file of settings, from Secrets. Takes {root, tier}. */}}
{{- define "hubbub.env" -}}
{{- $v := .root.Values -}}
{{- if and .tier.nats $v.nats.passwordSecret }}
{{ include "hubbub.secretEnv" (dict "name" "NATS_PASSWORD" "secret" $v.nats.passwordSecret) }}
{{- end }}
{{- if and .tier.cql $v.cql.passwordSecret }}
{{ include "hubbub.secretEnv" (dict "name" "CQL_PASSWORD" "secret" $v.cql.passwordSecret) }}
{{- end }}
{{- if and .tier.accounts $v.accounts.jwtSecret }}
{{ include "hubbub.secretEnv" (dict "name" "JWT_SECRET" "secret" $v.accounts.jwtSecret) }}
{{- end }}
{{- if and .tier.door $v.admin.tokenSecret }}
{{ include "hubbub.secretEnv" (dict "name" "ADMIN_TOKEN" "secret" $v.admin.tokenSecret) }}
{{- end }}
{{- if and .tier.amqp $v.amqp.urlSecret }}
{{ include "hubbub.secretEnv" (dict "name" "AMQP_URL" "secret" $v.amqp.urlSecret) }}
{{- end }}
{{- if and .tier.amqp $v.amqp.passwordSecret }}
{{ include "hubbub.secretEnv" (dict "name" "AMQP_PASSWORD" "secret" $v.amqp.passwordSecret) }}
{{- end }}
{{- end -}}

{{- define "hubbub.projected" -}}
- secret: {name: {{ .secret.name | quote }}, items: [{key: {{ .secret.key | quote }}, path: {{ .path }}}]}
{{- end -}}
{{- define "hubbub.projectedPair" -}}
- secret: {name: {{ .secret | quote }}, items: [{key: tls.crt, path: {{ .path }}.crt}, {key: tls.key, path: {{ .path }}.key}]}
{{- end -}}

{{/* Files from Secrets, as sources of one projected volume. Takes {root, tier}. */}}
{{- define "hubbub.files" -}}
{{- $v := .root.Values -}}
{{- if .tier.nats }}
{{- with $v.nats.tls.caSecret }}
{{ include "hubbub.projected" (dict "secret" . "path" "nats-ca.pem") }}
{{- end }}
{{- with $v.nats.tls.clientSecret }}
{{ include "hubbub.projectedPair" (dict "secret" . "path" "nats") }}
{{- end }}
{{- end }}
{{- if .tier.cql }}
{{- with $v.cql.tls.caSecret }}
{{ include "hubbub.projected" (dict "secret" . "path" "cql-ca.pem") }}
{{- end }}
{{- with $v.cql.tls.clientSecret }}
{{ include "hubbub.projectedPair" (dict "secret" . "path" "cql") }}
{{- end }}
{{- end }}
{{- if .tier.accounts }}
{{- with $v.accounts.jwtKeySecret }}
{{ include "hubbub.projected" (dict "secret" . "path" "jwt.pem") }}
{{- end }}
{{- with $v.accounts.caSecret }}
{{ include "hubbub.projected" (dict "secret" . "path" "accounts-ca.pem") }}
{{- end }}
{{- end }}
{{- if .tier.amqp }}
{{- with $v.amqp.caSecret }}
{{ include "hubbub.projected" (dict "secret" . "path" "amqp-ca.pem") }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "hubbub.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "hubbub.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
