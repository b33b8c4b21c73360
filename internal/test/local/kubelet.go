package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// mountSecret keeps dir like the volume of a Secret in a Pod, until the context ends: one file for each key, all
// replaced at once. There is no kubelet here, and the operator reads the Secret from such files. Write failures go to
// failed.
func mountSecret(ctx context.Context, config *rest.Config, namespace, name, dir string, failed func(error)) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	one := fields.OneTermEqualSelector("metadata.name", name)
	secrets := cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "secrets", namespace, one)
	write := func(object any) {
		if secret, ok := object.(*corev1.Secret); ok {
			if err := writeVolume(dir, secret.Data); err != nil {
				failed(fmt.Errorf("mounting Secret %s/%s: %w", namespace, name, err))
			}
		}
	}
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: secrets,
		ObjectType:    &corev1.Secret{},
		Handler: cache.ResourceEventHandlerFuncs{ // a deleted Secret stays mounted
			AddFunc:    write,
			UpdateFunc: func(_, object any) { write(object) },
		},
	})
	go informer.RunWithContext(ctx)
	return nil
}

const (
	volumeData    = "..data" // link to the directory with the current files
	volumePattern = "..version-*"
)

// writeVolume replaces the files in a volume as the kubelet does: dir/key links to ..data/key, and ..data links to a
// directory that is replaced atomically.
func writeVolume(dir string, files map[string][]byte) error {
	if sameFiles(dir, files) {
		return nil
	}
	fresh, err := os.MkdirTemp(dir, volumePattern)
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(fresh, name), content, 0o600); err != nil {
			return err
		}
	}
	if err := replaceLink(filepath.Base(fresh), filepath.Join(dir, volumeData)); err != nil {
		return err
	}
	for name := range files {
		if err := replaceLink(filepath.Join(volumeData, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return removeOthers(dir, fresh)
}

func sameFiles(dir string, files map[string][]byte) bool {
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, want) {
			return false
		}
	}
	return true
}

func replaceLink(target, link string) error {
	temporary := link + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, link)
}

func removeOthers(dir, present string) error {
	versions, err := filepath.Glob(filepath.Join(dir, volumePattern))
	if err != nil {
		return err
	}
	for _, version := range versions {
		if version != present {
			err = errors.Join(err, os.RemoveAll(version))
		}
	}
	return err
}
