{{/* The name of the release's objects. */}}
{{- define "acmeca.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of the release's objects in no namespace: releases of one name in several namespaces have objects of their own. */}}
{{- define "acmeca.clusterName" -}}
{{- if eq .Release.Namespace "acmeca-system" -}}
{{ include "acmeca.fullname" . }}
{{- else -}}
{{ include "acmeca.fullname" . }}-{{ .Release.Namespace }}
{{- end -}}
{{- end -}}

{{- define "acmeca.labels" -}}
app.kubernetes.io/name: acmeca
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a component: a list of the root and the component. */}}
{{- define "acmeca.componentLabels" -}}
{{ include "acmeca.labels" (first .) }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{- define "acmeca.selector" -}}
app.kubernetes.io/name: acmeca
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{- define "acmeca.serviceAccount" -}}
{{- $root := first . -}}
{{- default (printf "%s-%s" (include "acmeca.fullname" $root) (last .)) (index $root.Values (last .)).serviceAccount.name -}}
{{- end -}}

{{- define "acmeca.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "acmeca.priorityClass" -}}
{{- if .Values.priorityClass.create -}}
{{ include "acmeca.clusterName" . }}
{{- else -}}
{{ .Values.priorityClass.name }}
{{- end -}}
{{- end -}}

{{/* The watched namespaces, as a JSON list; empty means all. */}}
{{- define "acmeca.namespaces" -}}
{{- if .Values.watchNamespaces -}}
{{ append .Values.watchNamespaces .Release.Namespace | uniq | sortAlpha | toJson }}
{{- else -}}
[]
{{- end -}}
{{- end -}}

{{/* Arguments of both components. */}}
{{- define "acmeca.args" -}}
- --namespace=$(POD_NAMESPACE)
{{- with include "acmeca.namespaces" . | fromJsonArray }}
- --watch-namespaces={{ join "," . }}
{{- end }}
{{- with .Values.defaultIssuer }}
- --default-issuer={{ . }}
{{- end }}
{{- $host := printf "%s.%s.svc" (include "acmeca.fullname" .) .Release.Namespace }}
{{- $urls := .Values.externalURLs }}
{{- if and (not $urls) (ne (include "acmeca.fullname" .) "acmeca") }}
{{- $urls = list (printf "https://%s" $host) }}
{{- end }}
{{- range $urls }}
- --external-url={{ . }}
{{- end }}
{{- if .Values.plainURL }}
- --plain-url={{ .Values.plainURL }}
{{- else if ne (include "acmeca.fullname" .) "acmeca" }}
- --plain-url=http://{{ $host }}
{{- end }}
{{- end -}}

{{/* The common part of the Pods of both components. The argument is a list of the root and the component. */}}
{{- define "acmeca.pod" -}}
{{- $root := first . -}}
{{- $values := index $root.Values (last .) -}}
serviceAccountName: {{ include "acmeca.serviceAccount" . }}
automountServiceAccountToken: true
enableServiceLinks: false
{{- with include "acmeca.priorityClass" $root }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
{{- toYaml . | nindent 0 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  seccompProfile:
    type: RuntimeDefault
topologySpreadConstraints:
- topologyKey: kubernetes.io/hostname
  maxSkew: 1
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "acmeca.selector" . | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
{{- toYaml . | nindent 0 }}
{{- end }}
affinity:
  {{- if $values.affinity }}
  {{- toYaml $values.affinity | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: topology.kubernetes.io/zone
        labelSelector:
          matchLabels:
            {{- include "acmeca.selector" . | nindent 12 }}
        matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end -}}

{{/* The common part of the containers of both components. */}}
{{- define "acmeca.container" -}}
{{- $root := first . -}}
{{- $values := index $root.Values (last .) -}}
name: {{ last . }}
image: {{ include "acmeca.image" $root }}
{{- if ne $root.Values.image.pullPolicy "IfNotPresent" }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- end }}
livenessProbe:
  httpGet: {path: /healthz, port: health}
  periodSeconds: 10
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 5
resources:
  {{- toYaml $values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- define "acmeca.podMetadata" -}}
{{- $root := first . -}}
{{- $values := index $root.Values (last .) -}}
labels:
  {{- include "acmeca.selector" . | nindent 2 }}
  {{- with $root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  kubectl.kubernetes.io/default-container: {{ last . }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
