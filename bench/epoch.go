package bench

import (
	"fmt"
	"strconv"
)

// Differs says in words what makes e another machine, or another way of
// measuring, than o ("CPU model was "A", is "B""). Empty: they may be compared.
func (e Epoch) Differs(o Epoch) []string {
	var out []string
	word := func(what, is, was string) {
		if is != was {
			out = append(out, fmt.Sprintf("%s was %q, is %q", what, was, is))
		}
	}
	number := func(what string, is, was int) {
		if is != was {
			out = append(out, what+" was "+strconv.Itoa(was)+", is "+strconv.Itoa(is))
		}
	}
	word("CPU model", e.CPUModel, o.CPUModel)
	number("cores", e.Cores, o.Cores)
	number("memory in MB", e.MemoryMB, o.MemoryMB)
	word("disk", e.Disk, o.Disk)
	word("virtualisation", e.Virt, o.Virt)
	number("the probes' method", e.Method, o.Method)
	return out
}
