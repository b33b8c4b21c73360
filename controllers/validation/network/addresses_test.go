package network

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func policy(t *testing.T, protected, allow, deny []netip.Prefix) AddressPolicy {
	t.Helper()
	p, err := NewAddressPolicy(protected, allow, deny)
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
		if p.Objection(netip.MustParseAddr(s)) == "" {
			t.Errorf("%s may be connected to", s)
		}
	}
	for _, s := range []string{
		"1.1.1.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "100.100.100.201", "168.63.129.17", "198.18.0.1",
		"2001:db8::1", "2606:4700::1111", "fd00::1", "fc00::1", "fd20:ce::253", "2001:1::1",
		"::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1",
	} {
		if why := p.Objection(netip.MustParseAddr(s)); why != "" {
			t.Errorf("%s may not be connected to: %s", s, why)
		}
	}
	if p.Objection(netip.Addr{}) == "" {
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
		"2001:db8::5efe:10.5.1.2": false, "fd00::200:5efe:10.5.1.2": false, "fd00::5efe:10.7.1.2": true, "fd00::5efe:169.254.169.254": false,
		"10.96.0.1": true, "fd00:96::1": false, "fd00:96::2": true,
		"169.254.20.10": true, "169.254.169.254": false, "::": false,
	} {
		if got := p.Objection(netip.MustParseAddr(s)) == ""; got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
	for i, bad := range [][3][]netip.Prefix{{{{}}, nil, nil}, {nil, {{}}, nil}, {nil, nil, {{}}}} {
		if _, err := NewAddressPolicy(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("list %d with an invalid range is taken", i)
		}
	}
}

// Deny wins over everything, and no IPv6 form of an IPv4 address opens a denied one.
func TestAddressPolicyProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		four := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Filter(func(b []byte) bool { return b[0] != 0 }).Draw(rt, "address")))
		bits := rapid.IntRange(0, 32).Draw(rt, "bits")
		around := netip.PrefixFrom(four, bits)
		denied := policy(t, nil, prefixes("0.0.0.0/0", "::/0"), []netip.Prefix{around})
		standard := policy(t, nil, nil, nil)
		for _, addr := range carrying(four, [16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(rt, "rest"))) {
			if denied.Objection(addr) == "" || denied.Objection(four) == "" {
				rt.Fatalf("%v is denied, but %v isn't", four, addr)
			}
			if standard.Objection(four) != "" && standard.Objection(addr) == "" {
				rt.Fatalf("%v is closed, but %v isn't", four, addr)
			}
		}
		mapped := netip.AddrFrom16(four.As16())
		if (standard.Objection(four) == "") != (standard.Objection(mapped) == "") || denied.Objection(mapped) == "" {
			rt.Fatalf("%v and %v differ", four, mapped)
		}
	})
}

// carrying returns IPv6 addresses that carry four, one of each form, with other bits from rest.
func carrying(four netip.Addr, rest [16]byte) (all []netip.Addr) {
	v := four.As4()
	form := func(at [4]int, prefix ...byte) {
		raw := rest
		copy(raw[:], prefix)
		for i, b := range v {
			raw[at[i]] = b
		}
		all = append(all, netip.AddrFrom16(raw))
	}
	last := [4]int{12, 13, 14, 15}
	form(last, 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0)      // NAT64
	form(last, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0)         // SIIT
	form(last, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff)         // mapped
	form(last, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)               // compatible
	form(last, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0x5e, 0xfe) // ISATAP
	form(last, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 2, 0, 0x5e, 0xfe)
	form([4]int{2, 3, 4, 5}, 0x20, 2)       // 6to4
	form([4]int{4, 5, 6, 7}, 0x20, 1, 0, 0) // Teredo server
	for _, at := range [][4]int{last, {9, 10, 11, 12}, {7, 9, 10, 11}, {6, 7, 9, 10}} {
		form(at, 0, 0x64, 0xff, 0x9b, 0, 1) // local NAT64
	}
	raw := netip.MustParseAddr("2001:0:c633:6401::").As16() // Teredo client
	for i, b := range v {
		raw[12+i] = ^b
	}
	return append(all, netip.AddrFrom16(raw))
}

func TestDenied(t *testing.T) {
	ranges := prefixes("10.5.0.0/16", "::ffff:10.6.0.0/112", "2001:db8:bad::/48")
	for s, want := range map[string]bool{
		"10.5.1.2": true, "::ffff:10.5.1.2": true, "10.6.1.2": true, "10.7.1.2": false, "2001:db8:bad::1%eth0": true, "2001:db8::1": false,
		"64:ff9b::10.5.1.2": true, "64:ff9b::10.6.1.2": true, "64:ff9b::10.7.1.2": false, "64:ff9b:1::10.5.1.2": true,
		"64:ff9b:1:a05:1:200::": true, "64:ff9b:1:a:5:102::": true, "64:ff9b:1::a:501:200:0": true, "64:ff9b:1:a07:1:200::": false,
		"2002:a05:102::1": true, "2002:a07:102::1": false, "::ffff:0:10.5.1.2": true, "::10.5.1.2": true, "::1": false,
		"2001:0:a05:102::": true, "2001:0:102:304::f5fa:fefd": true, "2001:0:102:304::f5f8:fefd": false,
		"fe80::5efe:10.5.1.2%eth0": true, "2001:db8::200:5efe:10.5.1.2": true, "2001:db8::5efd:10.5.1.2": false,
	} {
		if got := Denied(ranges, netip.MustParseAddr(s)); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}

// FuzzDenied tries every form of an IPv4 address against a range that contains that address.
func FuzzDenied(f *testing.F) {
	f.Add([]byte{169, 254, 169, 254}, []byte("0123456789abcdef"), uint8(32))
	f.Add([]byte{10, 0, 0, 1}, make([]byte, 16), uint8(8))
	f.Fuzz(func(t *testing.T, address, rest []byte, bits uint8) {
		if len(address) != 4 || address[0] == 0 || len(rest) != 16 {
			t.Skip()
		}
		four := netip.AddrFrom4([4]byte(address))
		around := []netip.Prefix{netip.PrefixFrom(four, int(bits%33))}
		p := policy(t, nil, prefixes("0.0.0.0/0", "::/0"), around)
		for _, addr := range append(carrying(four, [16]byte(rest)), four) {
			if !Denied(around, addr) || p.Objection(addr) == "" {
				t.Errorf("%v is denied, but %v isn't", around, addr)
			}
		}
	})
}

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}
