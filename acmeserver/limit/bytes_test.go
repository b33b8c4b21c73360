package limit

import (
	"strconv"
	"testing"
)

func TestBytes(t *testing.T) {
	const budget = 16 * SmallBody
	b := NewBytes(budget)
	large := map[string]int64{}
	for i := range 100 {
		client := strconv.Itoa(i % 8)
		if b.Grow(client, 0, 2*SmallBody) {
			large[client] += 2 * SmallBody
		}
	}
	if b.InUse() != budget/2 {
		t.Errorf("large bodies use %d of %d bytes, want half", b.InUse(), budget)
	}
	for client, held := range large {
		if held > budget/4 {
			t.Errorf("client %s holds %d bytes, more than a quarter", client, held)
		}
	}
	small := 0
	for b.Grow("other"+strconv.Itoa(small), 0, SmallBody) {
		small++
	}
	if b.InUse() != budget {
		t.Errorf("with small bodies, %d of %d bytes are used", b.InUse(), budget)
	}
	for i := range small {
		b.Release("other"+strconv.Itoa(i), SmallBody)
	}
	for client, held := range large {
		b.Release(client, held)
	}
	if b.InUse() != 0 || len(b.byClient) != 0 {
		t.Errorf("%d bytes of %d clients are left reserved", b.InUse(), len(b.byClient))
	}
	if b.Grow("one", 0, SmallBody); b.Grow("one", SmallBody, budget/4) {
		t.Error("one client got more than a quarter")
	}
}
