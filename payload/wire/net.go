package wire

// NetTokenBytes is how long the secret is that both ends of a network probe
// know, in hexadecimal digits.
const NetTokenBytes = 32

// NetListening is the one line that a prober prints when its peer may connect.
type NetListening struct {
	Port int `json:"port"`
}
