{{- /* What `make api-reference` makes of the kinds. A field that isn't required is optional, which isn't said each time. */ -}}

{{- define "gvList" -}}
{{- range . -}}
# {{ .GroupVersionString }}

{{ .Doc }}
{{ $version := . }}
{{- range .SortedKinds }}
- {{ markdownRenderTypeLink ($version.TypeForKind .) }}
{{- end }}
{{ range .SortedTypes }}{{ if markdownShouldRenderType . }}{{ template "kind" . }}{{ end }}{{ end }}
{{- end }}
{{- end -}}

{{- define "kind" }}
## {{ .Name }}
{{ with .Doc }}
{{ . }}
{{ end }}
{{- if .IsAlias }}
It is a {{ markdownRenderTypeLink .UnderlyingType }}.
{{ end }}
{{- if .Validation }}
{{ range $i, $rule := .Validation }}{{ if $i }}; {{ end }}{{ $rule }}{{ end }}
{{ end }}
{{- if .References }}
In: {{ range $i, $type := .SortedReferences }}{{ if $i }}, {{ end }}{{ markdownRenderTypeLink $type }}{{ end }}
{{ end }}
{{- if .Members }}
| field | type | | default | rules |
| --- | --- | --- | --- | --- |
{{- range .Members }}
| `{{ .Name }}` | {{ markdownRenderType .Type }} | {{ if ne .Name "metadata" }}{{ markdownRenderFieldDoc .Doc }}{{ end }} | {{ markdownRenderDefault .Default }} | {{ template "rules" .Validation }} |
{{- end }}
{{ end }}
{{- if .EnumValues }}
| value | |
| --- | --- |
{{- range .EnumValues }}
| `{{ .Name }}` | {{ markdownRenderFieldDoc .Doc }} |
{{- end }}
{{ end }}
{{- end -}}

{{- define "rules" -}}
{{- $some := false -}}
{{- range . -}}
{{- if ne . "Optional: {}" -}}
{{- if $some }}<br />{{ end }}{{ $some = true -}}
{{- if eq . "Required: {}" }}required{{ else }}{{ markdownRenderFieldDoc . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
