package main

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strconv"
)

// memoryLimitVariable is the environment variable with the container's memory limit in bytes.
const memoryLimitVariable = "ACMECA_MEMORY_LIMIT"

// limitMemory sets the soft memory limit of Go's runtime to 90 % of the container's limit, unless GOMEMLIMIT sets it. The rest is
// for memory that the runtime does not count, and for the time that the garbage collector needs.
func limitMemory() error {
	text := os.Getenv(memoryLimitVariable)
	if text == "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	limit, err := strconv.ParseInt(text, 10, 64)
	if err != nil || limit <= 0 {
		return fmt.Errorf("%s=%q is not a number of bytes", memoryLimitVariable, text)
	}
	debug.SetMemoryLimit(int64(math.Round(float64(limit) * 0.9)))
	return nil
}
