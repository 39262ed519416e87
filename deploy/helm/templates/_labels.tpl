{{/* What every selector asks for. The name is the same for all releases: the alerts and the dashboard expect it as the job. */}}
{{- define "selector" -}}
app.kubernetes.io/name: sentiment
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "labels" -}}
{{ include "selector" . }}
app.kubernetes.io/part-of: sentiment-conv1d
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
