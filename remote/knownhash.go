package remote

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net"
	"strconv"
	"strings"

	"github.com/vpsctl/vpsctl/inventory"
)

// hashedAs says whether a hashed name of known_hosts, "|1|salt|hash", is addr.
func hashedAs(hashed, addr string) bool {
	parts := strings.Split(hashed, "|")
	if len(parts) != 4 {
		return false
	}
	salt, err1 := base64.StdEncoding.DecodeString(parts[2])
	want, err2 := base64.StdEncoding.DecodeString(parts[3])
	if err1 != nil || err2 != nil {
		return false
	}
	mac := hmac.New(sha1.New, salt)
	mac.Write([]byte(addr))
	return hmac.Equal(mac.Sum(nil), want)
}

func joinHostPort(h inventory.Host) string {
	return net.JoinHostPort(h.Address, strconv.Itoa(h.Port))
}
