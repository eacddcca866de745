// Renders an Ollama template with Go's own text/template, as Ollama does: JSON of template, system and messages in, text out.
package main

import (
	"encoding/json"
	"os"
	"text/template"
)

func main() {
	var given struct {
		Template string
		System   string
		Messages []struct{ Role, Content string }
	}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		panic(err)
	}
	today := template.FuncMap{"currentDate": func(_ ...string) string { return "D0today" }}
	parsed := template.Must(template.New("").Funcs(today).Option("missingkey=zero").Parse(given.Template))
	values := map[string]any{"System": given.System, "Messages": given.Messages, "Response": ""}
	if err := parsed.Execute(os.Stdout, values); err != nil {
		panic(err)
	}
}
