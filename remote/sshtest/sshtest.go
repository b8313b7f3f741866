// Package sshtest is an SSH and SFTP server in the test's own process that runs
// commands for real: by a login shell, as nobody when the test is root, with a
// home in a temporary folder. It can refuse, cut, freeze and make noise, so
// that what happens on bad days can be tested on any day.
//
// A server's HOME lies in a folder of its own, which Close removes, together
// with every process that was started through the server and is still there.
// It serves loopback only and needs a Unix.
package sshtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Options of a Server. The zero value lets nobody in.
type Options struct {
	User     string          // who may log in; "": anybody
	Keys     []ssh.PublicKey // with which keys
	HostKeys []ssh.Signer    // nil: one new ed25519 key
	Shell    string          // the login shell; "": /bin/sh
	Noise    string          // printed on both streams before each command, as rc files do
	Forced   string          // run instead of any command, as command= of authorized_keys does
	Sudo     bool            // `sudo -n` works (and changes nothing); else it asks for a password
	// SudoPassword makes sudo work for who gives it, asked on stderr and read from
	// stdin, three times at most; with SudoLogs it keeps what commands read, in
	// $HOME/logged. Each question is a byte in $HOME/asked.
	SudoPassword string
	SudoLogs     bool
	NoSFTP       bool     // no sftp subsystem
	NoForward    bool     // no way to other hosts, as with AllowTcpForwarding no
	Env          []string // added to the environment of commands
	AcceptEnv    []string // names of variables that clients may set
}

// Counts are what a server has seen.
type Counts struct {
	Connections int // accepted
	KeysOffered int
	Logins      int // successful ones
	Commands    int
	SFTP        int
}

// Server is a host. Its methods may be called at any time.
type Server struct {
	Host string // 127.0.0.1
	Port int
	Home string // of the user commands run as

	opt  Options
	base string
	id   string // in the environment of every command
	wg   sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	listener net.Listener
	config   *ssh.ServerConfig
	hostKeys []ssh.Signer
	conns    map[*conn]bool
	groups   []int // process groups that were started
	counts   Counts
	drop     int  // connections to close before the banner
	mute     bool // new connections are accepted and then ignored
	refuse   bool // no key is good enough
	booting  bool // nobody is let in yet
	armed    bool // the trap is
	events   int  // events since it was set
	trap     int  // after how many to spring
	freeze   bool // spring: freeze, else cut
}

// New starts a server. Its error says what the machine lacks.
func New(opt Options) (*Server, error) {
	s := &Server{Host: "127.0.0.1", opt: opt, hostKeys: opt.HostKeys, conns: map[*conn]bool{}, id: "SSHTEST_ID=" + newID()}
	if len(s.hostKeys) == 0 {
		s.hostKeys = []ssh.Signer{NewKey()}
	}
	if s.opt.Shell == "" {
		s.opt.Shell = "/bin/sh"
	}
	if err := s.makeHome(); err != nil {
		return nil, fmt.Errorf("sshtest: make a home: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.RemoveAll(s.base)
		return nil, fmt.Errorf("sshtest: %w", err)
	}
	s.Port = l.Addr().(*net.TCPAddr).Port
	s.serve(l)
	return s, nil
}

// NewKey makes an ed25519 key.
func NewKey() ssh.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // no randomness
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		panic(err) // a key we have just made
	}
	return signer
}

func newID() string {
	var b [8]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x", b)
}

// makeHome makes the folder of this server: home, and bin with its sudo.
func (s *Server) makeHome() (err error) {
	if s.base, err = os.MkdirTemp("", "sshtest-"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(s.base)
		}
	}()
	s.Home = filepath.Join(s.base, "home")
	bin := filepath.Join(s.base, "bin")
	sudo := "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n"
	if s.opt.Sudo {
		sudo = "#!/bin/sh\ncase $1 in -n) shift ;; -S) shift 3 ;; esac\n[ \"$1\" = -- ] || exit 1\nshift\nexec \"$@\"\n"
	}
	if s.opt.SudoPassword != "" {
		sudo = fmt.Sprintf(askingSudo, s.opt.SudoPassword, s.opt.SudoLogs)
	}
	return errors.Join(os.Chmod(s.base, 0o755), os.Mkdir(s.Home, 0o755), os.Mkdir(bin, 0o755), os.Chmod(bin, 0o755),
		os.WriteFile(filepath.Join(bin, "sudo"), []byte(sudo), 0o755), os.Chmod(filepath.Join(bin, "sudo"), 0o755), giveAway(s.Home))
}

// askingSudo does what sudo does, as far as it is asked here. A file
// $HOME/remembered stands for its time stamp.
const askingSudo = `#!/bin/sh
password='%s' logs=%t
[ -e "$HOME/remembered" ] && ok=1
case $1 in
-n) shift; [ "$ok" ] || { echo 'sudo: a password is required' >&2; exit 1; } ;;
-S)
	prompt=$3 n=0; shift 3
	echo 'We trust you have received the usual lecture.' >&2
	while [ -z "$ok" ]; do
		printf %%s "$prompt" >&2; printf . >>"$HOME/asked"
		IFS= read -r word || { echo 'sudo: no password was provided' >&2; exit 1; }
		[ "$word" = "$password" ] && ok=1 && break
		echo 'Sorry, try again.' >&2
		n=$((n+1)); [ $n -lt 3 ] || { echo 'sudo: 3 incorrect password attempts' >&2; exit 1; }
	done ;;
*) exit 1 ;;
esac
if [ "$1" = -l ]; then
	printf 'Matching Defaults entries for dev on host:\n    env_reset'
	[ $logs = true ] && printf ', log_input'
	printf '\n\nUser dev may run the following commands on host:\n    (ALL) ALL\n'
	exit
fi
shift
[ $logs = true ] || exec "$@"
tee -a "$HOME/logged" | "$@"
`

// Close ends the server, its connections and its processes, and removes its
// folder.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	if s.listener != nil {
		s.listener.Close()
	}
	for c := range s.conns {
		c.Close()
	}
	groups := slices.Clone(s.groups) // the original changes as processes end
	s.mu.Unlock()
	killAll(groups, s.id)
	s.wg.Wait()
	os.RemoveAll(s.base)
}

// Down stops listening and cuts every connection; Up listens again at the same
// address.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		s.listener.Close()
		s.listener = nil
	}
	for c := range s.conns {
		c.Close()
	}
}

// Up undoes Down.
func (s *Server) Up() error {
	l, err := net.Listen("tcp", net.JoinHostPort(s.Host, fmt.Sprint(s.Port)))
	if err == nil {
		s.serve(l)
	}
	return err
}

// CutAfterEvent cuts the line once the n-th line that looks like an event
// (`{"n":…`) from now on has been passed on; with n = 0 when the first is about
// to be. It happens once.
func (s *Server) CutAfterEvent(n int) { s.setTrap(n, false) }

// FreezeAfterEvent is like CutAfterEvent, but the line stays open and dead.
func (s *Server) FreezeAfterEvent(n int) { s.setTrap(n, true) }

func (s *Server) setTrap(n int, freeze bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.events, s.trap, s.freeze = true, 0, n, freeze
}

// Cut closes all connections.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Freeze makes the connections there are stay open and dead.
func (s *Server) Freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.freeze()
	}
}

// Mute makes new connections be accepted and then ignored, or heard again.
func (s *Server) Mute(on bool) { s.set(func() { s.mute = on }) }

// DropBeforeBanner closes the next n connections before the SSH banner.
func (s *Server) DropBeforeBanner(n int) { s.set(func() { s.drop = n }) }

// RefuseKeys makes every key be refused, or the good ones accepted again.
func (s *Server) RefuseKeys(on bool) { s.set(func() { s.refuse = on }) }

// Booting makes the server let nobody in and say why, as hosts do that are
// starting.
func (s *Server) Booting(on bool) { s.set(func() { s.booting = on }) }

// RotateHostKey gives the server a new ed25519 key instead of those it has.
func (s *Server) RotateHostKey() {
	s.set(func() {
		s.hostKeys = []ssh.Signer{NewKey()}
		s.config = s.newConfig()
	})
}

func (s *Server) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Counts are what the server has seen until now.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// HostKeys are the server's public keys.
func (s *Server) HostKeys() (keys []ssh.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.hostKeys {
		keys = append(keys, k.PublicKey())
	}
	return keys
}

// KnownHosts are the server's lines for a known_hosts file.
func (s *Server) KnownHosts() string {
	var b strings.Builder
	for _, k := range s.HostKeys() {
		b.WriteString(knownhosts.Line([]string{net.JoinHostPort(s.Host, fmt.Sprint(s.Port))}, k) + "\n")
	}
	return b.String()
}
