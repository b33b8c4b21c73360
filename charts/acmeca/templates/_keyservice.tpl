{{/* The sidecar with the key service, and the volumes of the Pod. It must run as the same user as the controllers. */}}
{{- define "acmeca.keyService" -}}
initContainers:
- name: keyservice
  image: {{ .Values.keyService.image | default (include "acmeca.image" .) }}
  restartPolicy: Always
  {{- with .Values.keyService.args }}
  args:
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .Values.keyService.env }}
  env:
  {{- toYaml . | nindent 2 }}
  {{- end }}
  resources:
    {{- toYaml .Values.keyService.resources | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
  volumeMounts:
  - {name: keyservice, mountPath: /run/acmeca-keyservice}
  {{- with .Values.keyService.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
- name: keyservice
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- with .Values.keyService.volumes }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}
