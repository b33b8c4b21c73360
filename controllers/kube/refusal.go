package kube

import (
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// IsRefusal reports whether the API server refuses an object until a person acts: for its schema, its size, missing rights, a quota, a
// policy or a webhook. Webhooks and policies choose their own codes.
func IsRefusal(err error) bool {
	if err == nil {
		return false
	}
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) ||
		strings.Contains(err.Error(), " denied the request") || strings.Contains(err.Error(), " denied request: ")
}
