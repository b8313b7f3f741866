package main

import "os/exec"

func shellWords(line string) []string { return []string{"cmd", "/C", line} }

func ownGroup(*exec.Cmd) {}
