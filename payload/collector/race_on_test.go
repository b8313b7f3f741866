//go:build linux && race

package main

// raceEnabled has the collector under test built as the tests are.
const raceEnabled = true
