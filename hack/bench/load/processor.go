package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of /proc (sysconf(_SC_CLK_TCK), 100 on every Linux that Go runs on).
const clockTick = 10 * time.Millisecond

// ProcessorTime returns the processor time of processes.
func ProcessorTime(pids ...int) (sum time.Duration, err error) {
	for _, pid := range pids {
		fields, err := stat(pid)
		if err != nil {
			return 0, err
		}
		own, err := ticks(fields[11:13])
		if err != nil {
			return 0, err
		}
		sum += own
	}
	return sum, nil
}

// FamilyTime returns the processor time of a process and its children, also of those that have ended.
func FamilyTime(pid int) (time.Duration, error) {
	fields, err := stat(pid)
	if err != nil {
		return 0, err
	}
	sum, err := ticks(fields[11:15])
	if err != nil {
		return 0, err
	}
	children, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "task", strconv.Itoa(pid), "children"))
	if err != nil {
		return 0, err
	}
	for child := range strings.FieldsSeq(string(children)) {
		id, err := strconv.Atoi(child)
		if err != nil {
			return 0, err
		}
		if own, err := ProcessorTime(id); err == nil { // otherwise it has just ended
			sum += own
		}
	}
	return sum, nil
}

// stat returns the fields of /proc/PID/stat after the name.
func stat(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])), nil
}

func ticks(fields []string) (time.Duration, error) {
	sum := 0
	for _, field := range fields {
		count, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		sum += count
	}
	return time.Duration(sum) * clockTick, nil
}
