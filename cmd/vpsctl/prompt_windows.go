package main

// silence leaves it to what reads.
func silence(int) (restore func(), err error) { return func() {}, nil }
