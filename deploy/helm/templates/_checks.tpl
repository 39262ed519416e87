{{/* Refuses values that contradict each other. values.schema.json describes each value alone. */}}
{{- define "checks" -}}
{{- $settings := .Values.settings }}

{{- /* The settings that have a value, here or in `env`. An empty one has none, as in the service. */}}
{{- $variables := list }}
{{- range .Values.env }}
  {{- $variables = append $variables (.name | trimPrefix "SENTIMENT_" | lower) }}
{{- end }}
{{- $given := $variables }}
{{- range $name, $value := $settings }}
  {{- if ne (toString $value) "" }}
    {{- $given = append $given $name }}
  {{- end }}
{{- end }}

{{- $keys := or (has "admin_keys" $given) (has "admin_key_file" $given) }}
{{- $key := eq (toString $settings.admin) "key" }}
{{- if and $key (not $keys) }}
  {{- fail "settings.admin: key needs settings.admin_key_file, or SENTIMENT_ADMIN_KEYS in env" }}
{{- end }}
{{- if and $keys (not $key) (not (has "admin" $variables)) }}
  {{- fail "settings.admin: must be key, because there are administration keys" }}
{{- end }}
{{- range list (list "tls_certificate" "tls_key") (list "tls_key" "tls_certificate") (list "tls_client_ca" "tls_certificate") }}
  {{- if and (has (first .) $given) (not (has (last .) $given)) }}
    {{- fail (printf "settings.%s: needs settings.%s" (first .) (last .)) }}
  {{- end }}
{{- end }}
{{- if and .Values.modelVolume (has "model_repository" $given) }}
  {{- fail "modelVolume: contains the models, so settings.model_repository must not be set" }}
{{- end }}

{{- with .Values.autoscaling }}
  {{- if .enabled }}
    {{- if gt (int64 .minReplicas) (int64 .maxReplicas) }}
      {{- fail (printf "autoscaling.minReplicas: %v is above autoscaling.maxReplicas, %v" .minReplicas .maxReplicas) }}
    {{- end }}
    {{- if not (or .cpu .requestsInFlight) }}
      {{- fail "autoscaling: cpu and requestsInFlight are null, so the autoscaler has no metric; set enabled to false" }}
    {{- end }}
  {{- end }}
{{- end }}

{{- $limits := .Values.resources.limits }}
{{- range $name, $request := .Values.resources.requests }}
  {{- $limit := get $limits $name }}
  {{- if and (hasKey $limits $name) (lt (include "quantity" $limit | float64) (include "quantity" $request | float64)) }}
    {{- fail (printf "resources.limits.%s: %v is below resources.requests.%s, %v" $name $limit $name $request) }}
  {{- end }}
{{- end }}
{{- end }}

{{/* A quantity of Kubernetes, such as 500m or 1Gi, as a number. */}}
{{- define "quantity" -}}
{{- $number := regexFind "^[0-9.]+([eE][+-]?[0-9]+)?" (toString .) }}
{{- $units := dict "" 1 "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 0x1p10 "Mi" 0x1p20 "Gi" 0x1p30 "Ti" 0x1p40 "Pi" 0x1p50 "Ei" 0x1p60 }}
{{- mulf (float64 $number) (get $units (trimPrefix $number (toString .)) | float64) }}
{{- end }}
