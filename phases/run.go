package phases

import (
	"fmt"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// Script makes the plan of `vpsctl run`: a local script as the one step
// run/script. name is what problems call it. The caller fills in the run and
// the host. The error is of type *Problems.
func Script(name string, body []byte, args []string, env map[string]string) (wire.Plan, error) {
	problems := &Problems{}
	at := place{w: &walker{problems: problems}, file: name}
	body = lf(body)
	if len(body) > maxFile {
		problems.addf("push it, then run it with vpsctl exec", "%s: over %d MiB: too large for a script", name, maxFile>>20)
	} else if checkTextScript(at, body) {
		checkScript(at, string(body))
	}
	for _, key := range sortedKeys(env) {
		if text, hint := checkVarName(key); text != "" {
			problems.addf(hint, "variable: %s", text)
		}
	}
	step := wire.Step{Name: "script", Run: &wire.Run{Script: string(body), Args: args}}
	return wire.Plan{Wire: wire.Version, Verb: "run",
		Phases: []wire.Phase{{ID: "run", Title: fmt.Sprintf("Script %s", name), Env: env, Steps: []wire.Step{step}}},
	}, problems.err()
}
