// Package e2e proves vpsctl against real Debian hosts. Its tests need root and the lab's tools, so they have the build
// tag e2e; the lab itself is in the folder lab.
package e2e
