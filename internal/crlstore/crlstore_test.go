package crlstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// cluster holds ConfigMaps. It fails the write number failAt, counted from 1, and all after it.
type cluster struct {
	held           map[string]*corev1.ConfigMap
	writes, failAt int
}

var errDown = errors.New("down")

func (c *cluster) write() error {
	if c.writes++; c.failAt > 0 && c.writes >= c.failAt {
		return errDown
	}
	return nil
}

func (c *cluster) get(_ context.Context, name string) (*corev1.ConfigMap, error) {
	if found, ok := c.held[name]; ok {
		return found.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("configmaps"), name)
}

func (c *cluster) Create(_ context.Context, part *corev1.ConfigMap) error {
	if err := c.write(); err != nil {
		return err
	}
	if c.held[part.Name] != nil {
		return apierrors.NewAlreadyExists(corev1.Resource("configmaps"), part.Name)
	}
	c.held[part.Name] = part.DeepCopy()
	return nil
}

func (c *cluster) Put(_ context.Context, head *corev1.ConfigMap) error {
	if err := c.write(); err != nil {
		return err
	}
	if found := c.held[head.Name]; found != nil && found.ResourceVersion != head.ResourceVersion {
		return apierrors.NewConflict(corev1.Resource("configmaps"), head.Name, nil)
	}
	head.ResourceVersion = strconv.Itoa(c.writes)
	c.held[head.Name] = head.DeepCopy()
	return nil
}

func (c *cluster) Delete(_ context.Context, name string) error {
	if err := c.write(); err != nil {
		return err
	}
	delete(c.held, name)
	return nil
}

const headName = "ca-crl-0123456789"

func newHead() *corev1.ConfigMap {
	head := &corev1.ConfigMap{}
	head.Name = headName
	return head
}

func contentOfSize(size int) Content {
	random, der := rand.NewChaCha8([32]byte{byte(size)}), make([]byte, size)
	_, _ = random.Read(der)
	return Content{der, der[:size/12]}
}

func same(a, b Content) bool { return bytes.Equal(a.DER, b.DER) && bytes.Equal(a.Expiries, b.Expiries) }

// CRLs of any size follow each other. Each is read whole, and no more than two generations of parts are kept.
func TestCRLsOfAnySize(t *testing.T) {
	c, head := &cluster{held: map[string]*corev1.ConfigMap{}}, newHead()
	for i, size := range []int{100, PartSize, PartSize + 1, 5 * PartSize, 3 * PartSize, 3*PartSize + 7, 200, 300, 2 * PartSize, 50} {
		content := contentOfSize(size)
		if err := Write(t.Context(), c, head, fmt.Sprint(1000+i), content); err != nil {
			t.Fatal(err)
		}
		found, got, err := Read(t.Context(), c.get, headName, nil)
		if err != nil || !same(got, content) || InHead(found) != (content.Parts() == 0) || IsStarted(found) {
			t.Fatalf("%d bytes: %v, %d bytes, %v", size, found.Data, len(got.DER), err)
		}
		known := append(PartsOf(found), headName)
		for name, configMap := range c.held {
			if !slices.Contains(known, name) {
				t.Errorf("%q is left", name)
			}
			if got := configMap.Size(); got > 1<<20 {
				t.Errorf("%q has %d bytes", name, got)
			}
		}
	}
	if len(c.held) != 3 {
		t.Errorf("left: %v", slices.Collect(maps.Keys(c.held)))
	}
}

// A reader that has read a head before the switch still finds its parts. A reader of a head whose parts are gone starts again.
func TestReadersNeverMixCRLs(t *testing.T) {
	c, head := &cluster{held: map[string]*corev1.ConfigMap{}}, newHead()
	contents := []Content{contentOfSize(3 * PartSize), contentOfSize(3*PartSize + 1), contentOfSize(3*PartSize + 2)}
	if err := Write(t.Context(), c, head, "1", contents[0]); err != nil {
		t.Fatal(err)
	}
	for switches, want := range []Content{contents[0], contents[0], contents[2]} {
		c.held = maps.Clone(c.held)
		before, reads := *head, 0
		state := maps.Clone(c.held)
		get := func(ctx context.Context, name string) (*corev1.ConfigMap, error) {
			if reads++; reads == 2 { // after the head
				for n := range switches {
					if err := Write(ctx, c, head, fmt.Sprint(2+n), contents[1+n]); err != nil {
						t.Fatal(err)
					}
				}
			}
			return c.get(ctx, name)
		}
		if _, got, err := Read(t.Context(), get, headName, nil); err != nil || !same(got, want) {
			t.Errorf("%d switches during the read: %d bytes, %v", switches, len(got.DER), err)
		}
		*head, c.held = *before.DeepCopy(), state
	}
}

// A writer that ends at any write leaves the CRL before readable, and no parts once the next writer has stored its CRL twice.
func TestWritersEndAnywhere(t *testing.T) {
	for _, sizes := range [][]int{{100, 2 * PartSize, 3 * PartSize}, {2 * PartSize, 3 * PartSize, 2*PartSize + 1}, {2 * PartSize, 100, 3 * PartSize}, {0, 2 * PartSize, 100}} {
		for failAt := 1; ; failAt++ {
			c, head := &cluster{held: map[string]*corev1.ConfigMap{}}, newHead()
			before := contentOfSize(sizes[0])
			if sizes[0] > 0 {
				if err := Write(t.Context(), c, head, "1", before); err != nil {
					t.Fatal(err)
				}
			}
			c.writes, c.failAt = 0, failAt
			next := contentOfSize(sizes[1])
			ended := Write(t.Context(), c, head, "2", next)
			c.failAt = 0
			found, got, err := Read(t.Context(), c.get, headName, nil)
			switch {
			case sizes[0] == 0 && apierrors.IsNotFound(err):
				found = newHead()
			case err != nil || !same(got, before) && !same(got, next) && !IsStarted(found):
				t.Fatalf("sizes %v, ended at write %d: %d bytes, %v", sizes, failAt, len(got.DER), err)
			}
			for n := range 3 {
				if err := Write(t.Context(), c, found, fmt.Sprint(3+n), contentOfSize(sizes[2]+n)); err != nil {
					t.Fatal(err)
				}
			}
			known := append(PartsOf(found), headName)
			for name := range c.held {
				if !slices.Contains(known, name) {
					t.Errorf("sizes %v, ended at write %d: %q is left", sizes, failAt, name)
				}
			}
			if ended == nil {
				break
			}
		}
	}
}

// Of two writers at a time, one fails, and the CRL is that of the other.
func TestTwoWriters(t *testing.T) {
	c, head := &cluster{held: map[string]*corev1.ConfigMap{}}, newHead()
	if err := Write(t.Context(), c, head, "1", contentOfSize(2*PartSize)); err != nil {
		t.Fatal(err)
	}
	other, content := head.DeepCopy(), contentOfSize(3*PartSize)
	if err := Write(t.Context(), c, head, "2", content); err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), c, other, "2", contentOfSize(2*PartSize+9)); !apierrors.IsConflict(err) {
		t.Errorf("the later writer: %v", err)
	}
	if _, got, err := Read(t.Context(), c.get, headName, nil); err != nil || !same(got, content) {
		t.Errorf("%d bytes, %v", len(got.DER), err)
	}
}

func TestIncompleteCRLs(t *testing.T) {
	for name, spoil := range map[string]func(c *cluster, head *corev1.ConfigMap, parts []string){
		"a missing part": func(c *cluster, _ *corev1.ConfigMap, parts []string) { delete(c.held, parts[1]) },
		"another part":   func(c *cluster, _ *corev1.ConfigMap, parts []string) { c.held[parts[0]] = c.held[parts[1]] },
		"a longer part": func(c *cluster, _ *corev1.ConfigMap, parts []string) {
			c.held[parts[1]].BinaryData["crl"] = append(c.held[parts[1]].BinaryData["crl"], 0)
		},
		"no number":      func(_ *cluster, head *corev1.ConfigMap, _ []string) { head.Data["manifest"] = "x 2 10 ab" },
		"too many parts": func(_ *cluster, head *corev1.ConfigMap, _ []string) { head.Data["manifest"] = "1 1000000 2000000 ab" },
		"no parts":       func(_ *cluster, head *corev1.ConfigMap, _ []string) { head.Data["manifest"] = "nothing" },
	} {
		c, head := &cluster{held: map[string]*corev1.ConfigMap{}}, newHead()
		if err := Write(t.Context(), c, head, "1", contentOfSize(2*PartSize)); err != nil {
			t.Fatal(err)
		}
		spoil(c, c.held[headName], PartsOf(head))
		if _, _, err := Read(t.Context(), c.get, headName, nil); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzManifest searches for panics and for endless lists of parts.
func FuzzManifest(f *testing.F) {
	f.Add("1700000000 3 2000000 abcd", "1 2", "7 1")
	f.Fuzz(func(t *testing.T, manifest, before, next string) {
		head := newHead()
		head.Data = map[string]string{manifestField: manifest, beforeField: before, nextField: next}
		for _, name := range PartsOf(head) {
			if len(name) < len(headName)+4 || name[:len(headName)] != headName {
				t.Errorf("part %q", name)
			}
		}
		_, _, _ = Read(t.Context(), func(_ context.Context, name string) (*corev1.ConfigMap, error) {
			if name == headName {
				return head, nil
			}
			return nil, apierrors.NewNotFound(corev1.Resource("configmaps"), name)
		}, headName, nil)
	})
}
