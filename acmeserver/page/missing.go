package page

import (
	"bytes"
	_ "embed"
	"html/template"
)

var (
	//go:embed missing.html
	missingHTML string

	missingTemplate = template.Must(template.New("missing").Parse(missingHTML))
)

// RenderMissing returns the HTML page that stands for a default issuer that does not exist.
func RenderMissing(namespace, issuer string) ([]byte, error) {
	var html bytes.Buffer
	err := missingTemplate.Execute(&html, &content{
		Style: template.CSS(pageStyle), Script: template.JS(pageScript), Namespace: namespace, Issuer: issuer,
	})
	return html.Bytes(), err
}
