//go:build linux

package host

import (
	"testing"

	"github.com/vpsctl/vpsctl/payload/wire"
)

// BenchmarkSample is one sample of this machine, and its parts.
func BenchmarkSample(b *testing.B) {
	s := NewSampler("/", 0)
	defer s.Close()
	b.Run("whole", func(b *testing.B) {
		var to wire.Sample
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.Sample(int64(i+1)*1e9, &to)
		}
	})
	b.Run("processes", func(b *testing.B) {
		for b.Loop() {
			s.processes()
		}
	})
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			s.listProcesses()
		}
	})
	for i, name := range fileNames {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.read(i)
			}
		})
	}
}
