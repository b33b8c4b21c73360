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
)

// maxDialsPerFamily bounds the addresses of a name that are tried, so that a long list doesn't use up the time, or
// turn one attempt into a scan.
const maxDialsPerFamily = 2

// reach connects to a host, which is a name or an address, on the port. The addresses that are dialled are the very
// ones that were judged.
func (a *attempt) reach(ctx context.Context, host string, port uint16) (net.Conn, *failure) {
	addrs, failed := a.addresses(ctx, host)
	if failed != nil {
		return nil, failed
	}
	return a.dialFirst(ctx, addrs, port)
}

// addresses finds those of the host that may be dialled, IPv6 first.
func (a *attempt) addresses(ctx context.Context, host string) ([]netip.Addr, *failure) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return a.judge(host, []netip.Addr{addr})
	}
	six, four, failed := a.lookupAddresses(ctx, host)
	if failed != nil {
		return nil, failed
	}
	return a.judge(host, append(six, four...))
}

func (a *attempt) judge(host string, addrs []netip.Addr) ([]netip.Addr, *failure) {
	var permitted []netip.Addr
	var objections []string
	for _, addr := range addrs {
		a.record.addAddress(addr.String())
		if why := a.policy.objection(addr); why == "" {
			permitted = append(permitted, addr.Unmap())
		} else if len(objections) < 2*maxDialsPerFamily {
			objections = append(objections, fmt.Sprintf("%v is %s", addr, why))
		}
	}
	if len(permitted) == 0 {
		return nil, definite(acme.Connection, "this CA may not connect to %q: %s",
			acme.Printable(host, acme.MaxNameLength), strings.Join(objections, ", "))
	}
	slices.SortStableFunc(permitted, func(x, y netip.Addr) int { return y.BitLen() - x.BitLen() })
	return permitted, nil
}

// lookup is the outcome of one DNS lookup.
type lookup struct {
	answer answer
	failed *failure
}

// lookupFamilies looks A and AAAA up at once. Some servers answer neither AAAA nor with an error (RFC 4074 section 4.1): once
// one family has addresses, the other one gets a tenth of the attempt's timeout more.
func (a *attempt) lookupFamilies(ctx context.Context, host string) (four, six lookup) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := func(qtype uint16) <-chan lookup {
		done := make(chan lookup, 1)
		go func() {
			ans, failed := a.resolver.lookup(ctx, host, qtype)
			done <- lookup{ans, failed}
		}()
		return done
	}
	limit := func(known lookup) {
		if len(known.answer.records) > 0 {
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
	return four, six
}

// lookupAddresses returns the addresses of both families. The failure of one is ignored if the other one has addresses: some
// servers of internal zones fail on AAAA alone.
func (a *attempt) lookupAddresses(ctx context.Context, host string) (six, four []netip.Addr, failed *failure) {
	l4, aaaa := a.lookupFamilies(ctx, host)
	ans4, failed4 := l4.answer, l4.failed

	a.record.addAnswer(ans4)
	if len(ans4.chain) == 0 {
		a.record.addAnswer(aaaa.answer)
	}
	for _, rr := range ans4.records {
		if addr, ok := netip.AddrFromSlice(rr.(*dns.A).A.To4()); ok {
			four = append(four, addr)
		}
	}
	for _, rr := range aaaa.answer.records {
		if addr, ok := netip.AddrFromSlice(rr.(*dns.AAAA).AAAA.To16()); ok {
			six = append(six, addr)
		}
	}
	switch {
	case len(six)+len(four) > 0:
		return six, four, nil
	case failed4 != nil:
		return nil, nil, failed4
	case aaaa.failed != nil:
		return nil, nil, aaaa.failed
	case ans4.nxdomain || aaaa.answer.nxdomain:
		return nil, nil, definite(acme.DNSProblem, "%q doesn't exist (NXDOMAIN from %s)", acme.Printable(host, acme.MaxNameLength), ans4.server)
	}
	return nil, nil, definite(acme.DNSProblem, "%q has neither an A nor an AAAA record, says %s",
		acme.Printable(host, acme.MaxNameLength), ans4.server)
}

// dialFirst takes the first address that accepts, so that a broken IPv6 address doesn't hide a good IPv4 one. Each gets
// its share of the time that is left, and one share remains for what follows.
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
	leave, ok := a.hosts.enter(dialCtx, target.Addr())
	if !ok {
		return nil, transient("connecting to %v: other validations are under way there", target)
	}
	conn, err := a.dial(dialCtx, "tcp", target.String())
	if err != nil {
		leave()
		return nil, connectionFailure(err, "connecting to "+target.String())
	}
	conn = boundConn{conn, leave}
	bind(ctx, conn)
	return conn, nil
}

// bind ends all reading and writing when ctx ends. There is no deadline on the connection, so that an error at the end
// of the time always comes with that of ctx. Whoever has the connection still closes it.
func bind(ctx context.Context, conn net.Conn) {
	context.AfterFunc(ctx, func() { hangUp(conn) })
}

// hangUp closes a connection of which nothing more is wanted, not even whether it closed well.
func hangUp(conn net.Conn) { _ = conn.Close() }

func connectionFailure(err error, doing string) *failure {
	why := reason(err)
	if why == "" {
		why = "failed"
	}
	f := transient("%s: %s", doing, why)
	// An address of a family that this host doesn't have won't get one by waiting.
	f.transient = !errors.Is(err, syscall.EAFNOSUPPORT)
	return f
}
