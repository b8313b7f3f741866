package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/urfave/cli/v2"
)

func showVersion(k *call) error {
	doc := map[string]any{"schema": 1, "version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	return k.ui.result(k.json(), doc, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "vpsctl %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	})
}

// completion prints a script made from the table of commands, so that it can
// never name a command or flag that is not there.
func completion(k *call) error {
	tree := commandTree(k.App.Commands, "")
	switch shell := k.Args().First(); shell {
	case "bash":
		return write(k.ui.out, bashCompletion(tree))
	case "zsh":
		return write(k.ui.out, "#compdef vpsctl\nautoload -U +X bashcompinit && bashcompinit\n"+bashCompletion(tree))
	case "fish":
		return write(k.ui.out, fishCompletion(tree))
	default:
		return usageError{fmt.Sprintf("completion: no script for %q", shell), "vpsctl completion bash|zsh|fish"}
	}
}

func write(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}

// completionNode is a command line so far and the words that may follow it.
type completionNode struct {
	path  string // "", "provision", "runs list"
	words []string
	flags []string
}

func commandTree(cmds []*cli.Command, path string) []completionNode {
	node := completionNode{path: path}
	var below []completionNode
	for _, c := range cmds {
		if c.Hidden {
			continue
		}
		node.words = append(node.words, c.Name)
		child := strings.TrimSpace(path + " " + c.Name)
		if len(c.Subcommands) > 0 {
			below = append(below, commandTree(c.Subcommands, child)...)
			continue
		}
		leaf := completionNode{path: child, words: argWords(c)}
		for _, f := range c.Flags {
			leaf.flags = append(leaf.flags, "--"+f.Names()[0])
		}
		below = append(below, leaf)
	}
	return append([]completionNode{node}, below...)
}

func argWords(c *cli.Command) []string {
	if strings.Contains(c.ArgsUsage, "|") {
		return strings.Split(c.ArgsUsage, "|")
	}
	return nil
}

func bashCompletion(tree []completionNode) string {
	var b strings.Builder
	b.WriteString("_vpsctl() {\n  local cur path=\"\" w words\n  cur=\"${COMP_WORDS[COMP_CWORD]}\"\n")
	b.WriteString("  for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case \"$w\" in -*) ;; *) case \" ")
	for _, n := range tree {
		if n.path != "" {
			b.WriteString("|" + n.path)
		}
	}
	b.WriteString("| \" in *\"|${path:+$path }$w|\"*) path=\"${path:+$path }$w\";; esac;; esac\n  done\n  case \"$path\" in\n")
	for _, n := range tree {
		fmt.Fprintf(&b, "    %q) words=%q;;\n", n.path, strings.Join(append(n.words, n.flags...), " "))
	}
	b.WriteString("  esac\n  case \"${COMP_WORDS[COMP_CWORD-1]}\" in -i|--inventory|--to|--known-hosts|--phases|--state-dir) COMPREPLY=($(compgen -f -- \"$cur\")); return;; esac\n")
	b.WriteString("  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -F _vpsctl vpsctl\n")
	return b.String()
}

func fishCompletion(tree []completionNode) string {
	var b strings.Builder
	b.WriteString("complete -c vpsctl -f\n")
	for _, n := range tree {
		cond := "__fish_use_subcommand"
		if n.path != "" {
			cond = "__fish_seen_subcommand_from " + strings.ReplaceAll(n.path, " ", "; and __fish_seen_subcommand_from ")
		}
		for _, w := range n.words {
			fmt.Fprintf(&b, "complete -c vpsctl -n %q -a %s\n", cond, w)
		}
		for _, f := range n.flags {
			fmt.Fprintf(&b, "complete -c vpsctl -n %q -l %s\n", cond, strings.TrimPrefix(f, "--"))
		}
	}
	return b.String()
}
