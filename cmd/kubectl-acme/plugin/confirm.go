package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/acmeca/acmeca/cmd/kubectl-acme/view"
)

func (o *options) addYes(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask for confirmation")
}

// confirm asks the user for confirmation. Without a terminal it fails unless --yes is set.
func (o *options) confirm(ctx context.Context, format string, args ...any) error {
	if o.yes {
		return nil
	}
	if !isTerminal(o.In) {
		return fmt.Errorf("%s There is no terminal to ask on: use --yes", view.Clean(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(o.ErrOut, "%s [y/N] ", view.Clean(fmt.Sprintf(format, args...)))
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(o.In).ReadString('\n') // any failure means no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(o.ErrOut)
		return errors.New("canceled, nothing was changed")
	case text := <-answer:
		if text == "y" || text == "yes" {
			return nil
		}
		return errors.New("canceled, nothing was changed")
	}
}
