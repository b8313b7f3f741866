package wire

// The limits of alerts where an inventory sets none: what is warned of below or,
// for the CPU, above. The comparison is strict.
const (
	AlertMemoryMB = 500  // MiB available
	AlertDiskMB   = 5120 // MiB available on /
	AlertCPUPct   = 95   // percent of all CPUs
)
