package validation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/acmeca/acmeca/api/acme"
	"github.com/acmeca/acmeca/controllers/validation/network"
)

// maxDialsPerFamily bounds the addresses of a family that an attempt dials, so that a long list neither exhausts the timeout nor
// makes one attempt a scan.
const maxDialsPerFamily = 2

// reach connects to a host, a name or an address. It dials only addresses that it has checked.
func (a *attempt) reach(ctx context.Context, host string, port uint16) (net.Conn, *failure) {
	addrs, failed := a.addresses(ctx, host)
	if failed != nil {
		return nil, failed
	}
	return a.dialFirst(ctx, addrs, port)
}

// addresses returns the addresses of the host that may be dialled, IPv6 first.
func (a *attempt) addresses(ctx context.Context, host string) ([]netip.Addr, *failure) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return a.permitted(host, []netip.Addr{addr})
	}
	six, four, failed := a.lookupAddresses(ctx, host)
	if failed != nil {
		return nil, failed
	}
	return a.permitted(host, append(six, four...))
}

// permitted records the addresses of a host, and returns those that the policy permits, IPv6 first.
func (a *attempt) permitted(host string, addrs []netip.Addr) ([]netip.Addr, *failure) {
	var usable []netip.Addr
	var objections []string
	for _, addr := range addrs {
		a.record.addAddress(addr.String())
		if why := a.policy.Objection(addr); why == "" {
			usable = append(usable, addr.Unmap())
		} else if len(objections) < 2*maxDialsPerFamily {
			objections = append(objections, fmt.Sprintf("%v is %s", addr, why))
		}
	}
	if len(usable) == 0 {
		return nil, definite(acme.Connection, "this CA may not connect to %q: %s",
			acme.Printable(host, acme.MaxNameLength), strings.Join(objections, ", "))
	}
	slices.SortStableFunc(usable, func(x, y netip.Addr) int { return y.BitLen() - x.BitLen() })
	return usable, nil
}

// lookup is the outcome of one DNS lookup.
type lookup struct {
	answer network.Answer
	failed *failure
	// panicked is the cause of a panic, for the attempt's own goroutine.
	panicked any
}

// lookup returns the records of a type. An answer without records is no failure.
func (a *attempt) lookup(ctx context.Context, name string, qtype uint16) (network.Answer, *failure) {
	ans, err := a.resolver.Lookup(ctx, name, qtype)
	if err != nil {
		return ans, &failure{acme.NewProblem(acme.DNSProblem, "%s", err.Detail), err.Transient}
	}
	return ans, nil
}

// lookupFamilies looks up A and AAAA at the same time. Some servers never answer queries for AAAA (RFC 4074 section 4.1). So once
// one family has addresses, the lookup of the other one ends after a tenth of the attempt's timeout.
func (a *attempt) lookupFamilies(ctx context.Context, host string) (four, six lookup) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := func(qtype uint16) <-chan lookup {
		done := make(chan lookup, 1)
		go func() {
			var l lookup
			defer func() {
				l.panicked = recover()
				done <- l
			}()
			l.answer, l.failed = a.lookup(ctx, host, qtype)
		}()
		return done
	}
	limit := func(known lookup) {
		if len(known.answer.Records) > 0 {
			time.AfterFunc(a.timeout/10, cancel)
		}
	}
	fours, sixes := begin(dns.TypeA), begin(dns.TypeAAAA)
	select {
	case four = <-fours:
		limit(four)
		six = <-sixes
	case six = <-sixes:
		limit(six)
		four = <-fours
	}
	for _, l := range []lookup{four, six} {
		if l.panicked != nil {
			panic(l.panicked)
		}
	}
	return four, six
}

// lookupAddresses returns the addresses of both families. The failure of one is ignored if the other one has addresses: some
// servers of internal zones fail on AAAA alone.
func (a *attempt) lookupAddresses(ctx context.Context, host string) (six, four []netip.Addr, failed *failure) {
	av4, av6 := a.lookupFamilies(ctx, host)
	a.record.addAnswer(av4.answer)
	if len(av4.answer.Chain) == 0 {
		a.record.addAnswer(av6.answer)
	}
	for _, rr := range av4.answer.Records {
		if addr, ok := netip.AddrFromSlice(rr.(*dns.A).A.To4()); ok {
			four = append(four, addr)
		}
	}
	for _, rr := range av6.answer.Records {
		if addr, ok := netip.AddrFromSlice(rr.(*dns.AAAA).AAAA.To16()); ok {
			six = append(six, addr)
		}
	}
	switch {
	case len(six)+len(four) > 0:
		return six, four, nil
	case av4.failed != nil:
		return nil, nil, av4.failed
	case av6.failed != nil:
		return nil, nil, av6.failed
	case av4.answer.NXDomain || av6.answer.NXDomain:
		return nil, nil, definite(acme.DNSProblem, "%q doesn't exist (NXDOMAIN from %s)",
			acme.Printable(host, acme.MaxNameLength), av4.answer.Server)
	}
	return nil, nil, definite(acme.DNSProblem, "%q has neither an A nor an AAAA record (answer from %s)",
		acme.Printable(host, acme.MaxNameLength), av4.answer.Server)
}

// dialFirst returns a connection to the first address that accepts one, so that a broken IPv6 address does not hide a working
// IPv4 address. Each address gets an equal share of the remaining time, and one share remains for the exchange.
func (a *attempt) dialFirst(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, *failure) {
	addrs = fewOfEach(addrs)
	var failed *failure
	for i, addr := range addrs {
		conn, f := a.dialOne(ctx, netip.AddrPortFrom(addr, port), len(addrs)-i+1)
		if f == nil {
			return conn, nil
		}
		failed = f
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// fewOfEach returns the first maxDialsPerFamily addresses of each family.
func fewOfEach(addrs []netip.Addr) []netip.Addr {
	var few []netip.Addr
	count := map[bool]int{}
	for _, addr := range addrs {
		if count[addr.Is4()]++; count[addr.Is4()] <= maxDialsPerFamily {
			few = append(few, addr)
		}
	}
	return few
}

func (a *attempt) dialOne(ctx context.Context, target netip.AddrPort, shares int) (net.Conn, *failure) {
	dialCtx := ctx
	if deadline, ok := ctx.Deadline(); ok {
		share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(shares))
		defer cancel()
		dialCtx = share
	}
	a.record.AddressUsed = target.String()
	release, ok := a.hosts.Acquire(dialCtx, target.Addr())
	if !ok {
		return nil, transient("connecting to %v: too many validations are connected to this address", target)
	}
	conn, err := a.dial(dialCtx, "tcp", target.String())
	if err != nil {
		release()
		return nil, connectionFailure(err, "connecting to "+target.String())
	}
	conn = network.HostConn{Conn: conn, Release: release}
	network.CloseAfter(ctx, conn)
	return conn, nil
}

// connectionFailure returns the failure for an error while connecting. doing is the start of its detail.
func connectionFailure(err error, doing string) *failure {
	why := network.Reason(err)
	if why == "" {
		why = "failed"
	}
	f := transient("%s: %s", doing, why)
	// A family that this host lacks stays unreachable.
	f.transient = !errors.Is(err, syscall.EAFNOSUPPORT)
	return f
}
