package main

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// A stamper puts the elapsed time before each line. Writes must consist of whole lines.
type stamper struct {
	out   io.Writer
	start time.Time
}

func (s *stamper) Write(text []byte) (int, error) {
	for line := range bytes.Lines(text) {
		if _, err := fmt.Fprintf(s.out, "  %5.1fs  %s", time.Since(s.start).Seconds(), line); err != nil {
			return 0, err
		}
	}
	return len(text), nil
}
