package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// minSecret is the shortest secret, in bytes: what is shorter cannot be
	// masked in output without masking half of everything else.
	minSecret = 6
	// maxSecret is the longest, in bytes.
	maxSecret = 64 << 10
	// maxCommand is how long a command may take to print a secret; it may ask
	// its user for a passphrase first.
	maxCommand = 2 * time.Minute
)

// Ref says where a secret is kept: in a variable of the environment, in a file,
// or in what a command prints. Exactly one is set.
type Ref struct {
	Env     string
	File    string
	Command []string
}

// String is the reference as it stands in an inventory.
func (r Ref) String() string {
	switch {
	case r.File == "" && r.Env == "" && r.Command == nil:
		return "that was typed"
	case r.Env != "":
		return "{env: " + r.Env + "}"
	case r.File != "":
		return "{file: " + clip(r.File) + "}"
	}
	return "{command: " + clip(argv(r.Command)) + "}"
}

// argv spells a command whole and on one line.
func argv(command []string) string {
	quoted := make([]string, len(command))
	for i, arg := range command {
		quoted[i] = strconv.Quote(arg)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// RefError is why a secret could not be had. It never holds the secret.
type RefError struct {
	Ref  Ref
	Why  string
	hint string
}

func (e *RefError) Error() string { return fmt.Sprintf("secret %s: %s", e.Ref, e.Why) }

// Hint is what to do about it; may be empty.
func (e *RefError) Hint() string { return e.hint }

// Resolve fetches the secret: relative files and the command start from
// baseDir, the inventory's folder. One newline at its end is dropped. The
// error is a *RefError: also when the secret is shorter than 6 bytes, longer
// than 64 KiB or not UTF-8.
func (r Ref) Resolve(ctx context.Context, baseDir string) (Secret, error) {
	var data []byte
	var err error
	switch {
	case r.Env != "":
		v, ok := os.LookupEnv(r.Env)
		if !ok {
			return Secret{}, &RefError{r, "it is not set", "export " + r.Env + "=…"}
		}
		data = []byte(v)
	case r.File != "":
		data, err = r.readFile(baseDir)
	case len(r.Command) > 0:
		data, err = r.run(ctx, baseDir)
	default:
		err = errors.New("it names nothing")
	}
	if err != nil {
		return Secret{}, &RefError{r, err.Error(), ""}
	}
	return r.accept(data)
}

// NewSecret takes what somebody has typed, within the bounds of Resolve.
func NewSecret(typed []byte) (Secret, error) { return Ref{}.accept(typed) }

func (r Ref) accept(data []byte) (Secret, error) {
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case len(data) > maxSecret:
		return Secret{}, &RefError{r, fmt.Sprintf("it is longer than %d KiB", maxSecret>>10), ""}
	case len(data) < minSecret:
		return Secret{}, &RefError{r, fmt.Sprintf("it is shorter than %d bytes", minSecret), "so short a secret cannot be kept out of logs; take a longer one"}
	case !utf8.Valid(data):
		return Secret{}, &RefError{r, "it is not text in UTF-8", "keep it in base64, and decode it where it is used"}
	}
	return newSecret(string(data)), nil
}

// inside tells whether a file lies in the inventory's folder, by its name.
func (r Ref) inside(baseDir string) (full string, inside bool, err error) {
	full, err = expand(r.File, baseDir)
	if err != nil {
		return "", false, err
	}
	rel, err := filepath.Rel(baseDir, full)
	return full, err == nil && filepath.IsLocal(rel), nil
}

// readFile opens a file of the inventory's folder so that no link in it leads
// out: only files elsewhere have been confirmed by the user.
func (r Ref) readFile(baseDir string) ([]byte, error) {
	full, inside, err := r.inside(baseDir)
	if err != nil {
		return nil, err
	}
	var f *os.File
	if inside {
		rel, _ := filepath.Rel(baseDir, full)
		root, rerr := os.OpenRoot(baseDir)
		if rerr != nil {
			return nil, errors.New(reason(rerr))
		}
		defer root.Close()
		f, err = root.Open(rel)
	} else {
		f, err = os.Open(full)
	}
	if err != nil {
		return nil, errors.New(reason(err))
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() && st.Mode()&fs.ModeNamedPipe == 0 {
		return nil, errors.New("it is no file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSecret+3))
	if err != nil {
		return nil, errors.New(reason(err))
	}
	return data, nil
}

func (r Ref) run(ctx context.Context, baseDir string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, maxCommand)
	defer cancel()
	out, complaint := bounded{most: maxSecret + 3}, bounded{most: 4 << 10, quiet: true}
	cmd := exec.CommandContext(ctx, r.Command[0], r.Command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = baseDir, &out, &complaint
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	switch {
	case out.over:
		return nil, fmt.Errorf("it prints more than %d KiB", maxSecret>>10)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, fmt.Errorf("it printed nothing whole within %s", maxCommand)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		if last := lastLine(string(complaint.kept)); last != "" {
			return nil, fmt.Errorf("%w: %s", err, quote(last))
		}
		return nil, err
	}
	return out.kept, nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// bounded keeps at most so many bytes; what comes after is an error, or with
// quiet is dropped.
type bounded struct {
	kept  []byte
	most  int
	quiet bool
	over  bool
	full  func() // called when more comes; may be nil
}

func (b *bounded) Write(p []byte) (int, error) {
	room := min(len(p), b.most-len(b.kept))
	b.kept = append(b.kept, p[:room]...)
	if b.over = b.over || room < len(p); b.over && !b.quiet {
		if b.full != nil {
			b.full()
		}
		return room, errors.New("too much output")
	}
	return len(p), nil
}

// Secret is a value that prints as *** however it is printed.
type Secret struct{ value func() string }

func newSecret(s string) Secret { return Secret{func() string { return s }} }

// Reveal is the value itself.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return s.value()
}

const masked = "***"

// Format prints *** for every verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, masked) }

// String is ***.
func (Secret) String() string { return masked }

// GoString is ***.
func (Secret) GoString() string { return masked }

// MarshalText is ***, also in JSON and XML.
func (Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// MarshalYAML is ***.
func (Secret) MarshalYAML() (any, error) { return masked, nil }

// LogValue is ***.
func (Secret) LogValue() slog.Value { return slog.StringValue(masked) }
