{{/* The ports of addresses HOST:PORT, or the usual one where none is named. Takes {addresses, usual}. */}}
{{- define "hubbub.ports" -}}
{{- $ports := list -}}
{{- range .addresses -}}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" | default $.usual -}}
{{- $ports = append $ports (int $port) -}}
{{- end -}}
[{{ range $i, $port := $ports | uniq }}{{ if $i }}, {{ end }}{port: {{ $port }}}{{ end }}]
{{- end -}}

{{/* Where a tier goes: names, NATS, the database, the broker, and what values add. Takes {root, tier}. */}}
{{- define "hubbub.egress" -}}
{{- $v := .root.Values -}}
{{- $policy := $v.networkPolicy -}}
# Names.
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- if .tier.nats }}
- ports: {{ include "hubbub.ports" (dict "addresses" $v.nats.servers "usual" "4222") }}
  {{- with $policy.nats }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if .tier.cql }}
- ports: {{ include "hubbub.ports" (dict "addresses" $v.cql.nodes "usual" "9042") }}
  {{- with $policy.cql }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if and .tier.amqp (or $v.amqp.settings $v.amqp.urlSecret) }}
# The broker, at its usual ports or where the settings say.
- ports: [{port: 5672}, {port: 5671}{{ with index $v.amqp.settings "amqp-port" }}, {port: {{ int . }}}{{ end }}]
  {{- with $policy.amqp }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if not .tier.job }}
{{- with $policy.egress }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end -}}
