package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/miekg/dns"
)

const (
	// maxStrayReplies bounds the datagrams that don't match the query. After that the query is sent by TCP, which an attacker who
	// does not see the query can't spoof.
	maxStrayReplies = 8
	// udpPayload is the size that the DNS flag day of 2020 recommends, in bytes: such datagrams are not fragmented.
	udpPayload = 1232
	// udpBuffer is larger than udpPayload, for servers that ignore it.
	udpBuffer = 4096
)

// errBadReply is wrapped by all errors about the content of a reply. Another query would get the same reply.
var errBadReply = errors.New("bad reply")

// rcodeError is a response code other than NOERROR and NXDOMAIN (RFC 1035 section 4.1.1).
type rcodeError int

func (e rcodeError) Error() string {
	if text, ok := dns.RcodeToString[int(e)]; ok {
		return text
	}
	return fmt.Sprintf("RCODE%d", int(e))
}

// exchange returns the reply of one server, over UDP, or over TCP if the reply is truncated or not trustworthy.
func (r *Resolver) exchange(ctx context.Context, server, name string, qtype uint16) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	query := new(dns.Msg).SetQuestion(name, qtype)
	query.AuthenticatedData = true // asks whether the server has verified signatures (RFC 6840 section 5.7)
	query.SetEdns0(udpPayload, false)
	reply, err := r.send(ctx, server, query)
	if err == nil && (reply.Rcode == dns.RcodeFormatError || reply.Rcode == dns.RcodeNotImplemented) {
		// RFC 6891 section 7: servers without EDNS answer so.
		query.Extra = nil
		reply, err = r.send(ctx, server, query)
	}
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err() // instead of the error of the connection that CloseAfter closed
	}
	if err != nil {
		return nil, err
	}
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return nil, rcodeError(reply.Rcode)
	}
	if isReferral(reply) {
		return nil, fmt.Errorf("%w: a referral, from a server that does not resolve recursively", errBadReply)
	}
	return reply, nil
}

// isReferral reports whether a reply is a referral to other servers, not an answer without records (RFC 2308 section 2.2).
func isReferral(reply *dns.Msg) bool {
	if reply.Authoritative || len(reply.Answer) > 0 {
		return false
	}
	has := func(rrtype uint16) bool {
		return slices.ContainsFunc(reply.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == rrtype })
	}
	return has(dns.TypeNS) && !has(dns.TypeSOA)
}

// send sends the query with a new ID, over UDP and, if needed, over TCP.
func (r *Resolver) send(ctx context.Context, server string, query *dns.Msg) (*dns.Msg, error) {
	query.Id = dns.Id()
	reply, err := r.overUDP(ctx, server, query)
	if err == nil && !reply.Truncated {
		return reply, nil
	}
	if err != nil && !errors.Is(err, errBadReply) {
		return nil, err
	}
	query.Id = dns.Id()
	reply, err = r.overTCP(ctx, server, query)
	if err == nil && reply.Truncated {
		return nil, fmt.Errorf("%w: truncated over TCP", errBadReply)
	}
	return reply, err
}

func (r *Resolver) overUDP(ctx context.Context, server string, query *dns.Msg) (*dns.Msg, error) {
	conn, packed, err := r.open(ctx, "udp", server, query)
	if err != nil {
		return nil, err
	}
	defer CloseQuietly(conn)
	if _, err := conn.Write(packed); err != nil {
		return nil, err
	}
	buf := make([]byte, udpBuffer)
	for range maxStrayReplies {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		reply, err := parseReply(buf[:n], query)
		if !errors.Is(err, errStray) {
			return reply, err
		}
	}
	return nil, fmt.Errorf("%w: too many replies to other queries", errBadReply)
}

func (r *Resolver) overTCP(ctx context.Context, server string, query *dns.Msg) (*dns.Msg, error) {
	conn, packed, err := r.open(ctx, "tcp", server, query)
	if err != nil {
		return nil, err
	}
	defer CloseQuietly(conn)
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...)); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return nil, err
	}
	return parseReply(buf, query)
}

func (r *Resolver) open(ctx context.Context, network, server string, query *dns.Msg) (net.Conn, []byte, error) {
	packed, err := query.Pack()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the name can't be encoded in a query", errBadReply)
	}
	conn, err := r.dial(ctx, network, server)
	if err != nil {
		return nil, nil, err
	}
	CloseAfter(ctx, conn)
	return conn, packed, nil
}

// errStray is the error for a message that is not a reply to the query, from any sender.
var errStray = fmt.Errorf("%w: a reply to another query", errBadReply)

// parseReply parses a message, and verifies that it answers the query (RFC 5452 section 3).
func parseReply(raw []byte, query *dns.Msg) (*dns.Msg, error) {
	if len(raw) < 2 || binary.BigEndian.Uint16(raw) != query.Id {
		return nil, errStray
	}
	reply := new(dns.Msg)
	if err := reply.Unpack(raw); err != nil {
		// A truncated message may end anywhere.
		if reply.Response && reply.Truncated && answers(reply, query) {
			return reply, nil
		}
		return nil, fmt.Errorf("%w: malformed", errBadReply)
	}
	if !answers(reply, query) {
		return nil, errStray
	}
	return reply, nil
}

// answers reports whether a message is a reply to the query.
func answers(reply, query *dns.Msg) bool {
	if !reply.Response || reply.Opcode != dns.OpcodeQuery {
		return false
	}
	// A server that can't parse the query can't repeat its question.
	if reply.Rcode == dns.RcodeFormatError && len(reply.Question) == 0 {
		return true
	}
	if len(reply.Question) != 1 {
		return false
	}
	got, want := reply.Question[0], query.Question[0]
	return got.Qtype == want.Qtype && got.Qclass == want.Qclass && dns.CanonicalName(got.Name) == dns.CanonicalName(want.Name)
}
