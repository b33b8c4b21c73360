package validation

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func policy(t *testing.T, protected, allow, deny []netip.Prefix) addressPolicy {
	t.Helper()
	p, err := newAddressPolicy(protected, allow, deny)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAddressPolicyByDefault(t *testing.T) {
	p := policy(t, nil, nil, nil)
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "169.254.0.1", "169.254.169.254", "169.254.170.2",
		"100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::10.0.0.1", "fe80::1", "febf::1", "fe80::a9fe:a9fe", "ff02::1",
		"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100::1", "2001:0:1::1", "64:ff9b:1::a00:1",
		"::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
		"2002:7f00:1::", "2002:a9fe:a9fe::1",
		"fe80::1%eth0", "2001:db8::1%eth0",
	} {
		if p.objection(netip.MustParseAddr(s)) == "" {
			t.Errorf("%s may be connected to", s)
		}
	}
	for _, s := range []string{
		"1.1.1.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "100.100.100.201", "168.63.129.17", "198.18.0.1",
		"2001:db8::1", "2606:4700::1111", "fd00::1", "fc00::1", "fd20:ce::253", "2001:1::1",
		"::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1",
	} {
		if why := p.objection(netip.MustParseAddr(s)); why != "" {
			t.Errorf("%s may not be connected to: %s", s, why)
		}
	}
	if p.objection(netip.Addr{}) == "" {
		t.Error("no address may be connected to")
	}
}

func TestAddressPolicyConfigured(t *testing.T) {
	p := policy(t,
		prefixes("10.96.0.1/32", "fd00:96::1/128"),
		prefixes("127.0.0.0/8", "::1/128", "10.96.0.0/30", "169.254.20.0/24"),
		prefixes("127.0.0.53/32", "10.5.0.0/16", "::ffff:10.6.0.0/112", "2001:db8:bad::/48"))
	for s, want := range map[string]bool{
		"127.0.0.1": true, "::1": true, "::ffff:127.0.0.1": true, "64:ff9b::7f00:1": true, "2002:7f00:1::": true,
		"127.0.0.53": false, "::ffff:127.0.0.53": false, "64:ff9b::7f00:35": false,
		"10.5.1.2": false, "10.6.1.2": false, "::ffff:10.6.1.2": false, "10.7.1.2": true, "64:ff9b::a05:102": false,
		"2001:db8:bad::1": false, "2001:db8::1": true,
		"10.96.0.1": true, "fd00:96::1": false, "fd00:96::2": true,
		"169.254.20.10": true, "169.254.169.254": false, "::": false,
	} {
		if got := p.objection(netip.MustParseAddr(s)) == ""; got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	for i, bad := range [][3][]netip.Prefix{{{{}}, nil, nil}, {nil, {{}}, nil}, {nil, nil, {{}}}} {
		if _, err := newAddressPolicy(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("list %d with an invalid range is taken", i)
		}
	}
}

// Deny wins over everything, and no IPv6 form of an IPv4 address opens a denied one.
func TestAddressPolicyProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		four := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(rt, "address")))
		bits := rapid.IntRange(0, 32).Draw(rt, "bits")
		around := netip.PrefixFrom(four, bits)
		denied := policy(t, nil, prefixes("0.0.0.0/0", "::/0"), []netip.Prefix{around})
		standard := policy(t, nil, nil, nil)
		raw := four.As4()
		for _, carrier := range carriers {
			six := carrier.prefix.Addr().As16()
			copy(six[carrier.offset:], raw[:])
			addr := netip.AddrFrom16(six)
			if denied.objection(addr) == "" || denied.objection(four) == "" {
				rt.Fatalf("%v is denied, but %v isn't", four, addr)
			}
			if standard.objection(four) != "" && standard.objection(addr) == "" {
				rt.Fatalf("%v is closed, but %v isn't", four, addr)
			}
		}
		mapped := netip.AddrFrom16(four.As16())
		if (standard.objection(four) == "") != (standard.objection(mapped) == "") || denied.objection(mapped) == "" {
			rt.Fatalf("%v and %v differ", four, mapped)
		}
	})
}

func TestFewOfEach(t *testing.T) {
	var addrs []netip.Addr
	for _, s := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	want := slices.Concat(addrs[:2], addrs[3:5])
	if got := fewOfEach(addrs); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}
