// Package token is a key service's backend for a PKCS#11 token.
package token

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// URI is a PKCS#11 URI (RFC 7512) that names a token.
type URI struct {
	Token, Serial, Manufacturer, Model string
	// Slot is the number of the token's slot; nil if the URI names none.
	Slot *uint
	// Module is the path of the vendor's library.
	Module string
	// PINFile is the path of a file with the PIN.
	PINFile string
}

// ParseURI parses the URI of a token. The PIN must be in a file: arguments of a program are visible to others.
func ParseURI(text string) (URI, error) {
	var u URI
	rest, ok := strings.CutPrefix(text, "pkcs11:")
	if !ok {
		return u, errors.New(`a PKCS#11 URI begins with "pkcs11:"`)
	}
	path, query, _ := strings.Cut(rest, "?")
	if err := u.attributes(path, ";"); err != nil {
		return u, err
	}
	if err := u.attributes(query, "&"); err != nil {
		return u, err
	}
	switch {
	case u.Module == "":
		return u, errors.New("module-path is missing: the path of the vendor's library")
	case u.PINFile == "":
		return u, errors.New("pin-source is missing: the file with the PIN, such as file:/etc/acmeca/pin")
	case u.Token == "" && u.Serial == "" && u.Slot == nil:
		return u, errors.New("token, serial or slot-id is missing")
	}
	return u, nil
}

func (u *URI) attributes(text, separator string) error {
	seen := map[string]bool{}
	for attribute := range strings.SplitSeq(text, separator) {
		if attribute == "" {
			continue
		}
		name, value, _ := strings.Cut(attribute, "=")
		value, err := url.PathUnescape(value)
		if err != nil || seen[name] {
			return fmt.Errorf("the attribute %q is malformed or repeated", name)
		}
		seen[name] = true
		if err := u.set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (u *URI) set(name, value string) error {
	fields := map[string]*string{"token": &u.Token, "serial": &u.Serial, "manufacturer": &u.Manufacturer, "model": &u.Model,
		"module-path": &u.Module}
	switch field := fields[name]; {
	case field != nil:
		*field = value
	case name == "slot-id":
		number, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return errors.New("slot-id is not a number")
		}
		slot := uint(number)
		u.Slot = &slot
	case name == "pin-source":
		u.PINFile = strings.TrimPrefix(strings.TrimPrefix(value, "file:"), "//")
		if !strings.HasPrefix(u.PINFile, "/") {
			return errors.New("pin-source is not the absolute path of a file")
		}
	case name == "pin-value":
		return errors.New("pin-value would show the PIN to others: write it into a file, and name the file in pin-source")
	default:
		return fmt.Errorf("the attribute %q is not supported", name)
	}
	return nil
}
