package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/vpsctl/vpsctl/inventory"
	"github.com/vpsctl/vpsctl/payload/wire"
)

// banner writes what the developer of a new account needs, to be copied: where,
// who, the password this once, and the first thing to type.
func banner(w io.Writer, c credential, h inventory.Host, plan *wire.Plan) error {
	port := h.Port
	if port == 0 {
		port = 22
	}
	addr := h.Address
	if addr == "" {
		addr = h.Name
	}
	first, note := loginLine(h, c.User), ""
	if vars, err := plainVars(h, "must_change"); err != nil || vars["must_change"] != "false" {
		note = "asks for one of your own"
	}
	if hasDesktop(plan) {
		if note != "" {
			note += ", then "
		}
		first, note = "vpsctl rdp "+c.Host, note+"opens the desktop; without one: "+first
	}
	if note != "" {
		first += "   (" + note + ")"
	}
	_, err := fmt.Fprintf(w, "\n%s is ready\n  address %s\n  port %d\n  user %s\n  password %s\n  first: %s\n", c.Host, addr, port, c.User, c.Password, first)
	return err
}

// hasDesktop tells whether a plan brings an RDP server.
func hasDesktop(plan *wire.Plan) bool {
	return plan != nil && slices.ContainsFunc(plan.Phases, func(p wire.Phase) bool { return strings.HasPrefix(p.ID, "rdp-") })
}
