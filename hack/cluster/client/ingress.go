package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// serviceAccount is the directory of a Pod's token.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// A route leads requests for a host and a path to a Service.
type route struct {
	host, path string
	exact      bool
	target     *url.URL
}

// A router holds the routes of all Ingresses and HTTPRoutes.
type router struct {
	api    *http.Client
	routes atomic.Pointer[[]route]
}

// ingress forwards requests on port 8080 to Services, as Ingresses and HTTPRoutes of all namespaces say.
func ingress() error {
	ca, err := os.ReadFile(filepath.Join(serviceAccount, "ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	r := &router{api: &http.Client{Timeout: callTimeout, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}
	r.routes.Store(&[]route{})
	go func() {
		for ; ; time.Sleep(time.Second) {
			if err := r.read(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
	}()
	server := &http.Server{Addr: ":8080", Handler: r, ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}

func (r *router) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	host, _, _ := strings.Cut(request.Host, ":")
	for _, one := range *r.routes.Load() {
		path := request.URL.Path
		if one.host == host && (path == one.path || !one.exact && strings.HasPrefix(path, one.path)) {
			httputil.NewSingleHostReverseProxy(one.target).ServeHTTP(w, request)
			return
		}
	}
	http.NotFound(w, request)
}

// read replaces the routes. The longest paths come first.
func (r *router) read(ctx context.Context) error {
	var ingresses ingressList
	var httpRoutes httpRouteList
	err := r.list(ctx, "networking.k8s.io/v1/ingresses", &ingresses)
	if err := errors.Join(err, r.list(ctx, "gateway.networking.k8s.io/v1/httproutes", &httpRoutes)); err != nil {
		return err
	}
	routes := append(ingresses.routes(), httpRoutes.routes()...)
	slices.SortStableFunc(routes, func(a, b route) int { return len(b.path) - len(a.path) })
	r.routes.Store(&routes)
	return nil
}

// list reads objects of all namespaces. A kind that the cluster doesn't have has no objects.
func (r *router) list(ctx context.Context, resource string, list any) error {
	token, err := os.ReadFile(filepath.Join(serviceAccount, "token"))
	if err != nil {
		return err
	}
	address := "https://" + os.Getenv("KUBERNETES_SERVICE_HOST") + "/apis/" + resource
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	response, err := r.api.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(response.Body).Decode(list)
	case http.StatusNotFound:
		return nil
	default:
		return fmt.Errorf("%s: %s", resource, response.Status)
	}
}

type metadata struct{ Namespace string }

// These are the fields that lead to a route.
type (
	ingressList struct {
		Items []struct {
			Metadata metadata
			Spec     struct {
				Rules []struct {
					Host string
					HTTP struct {
						Paths []struct {
							Path, PathType string
							Backend        struct {
								Service struct {
									Name string
									Port struct{ Number int }
								}
							}
						}
					}
				}
			}
		}
	}
	httpRouteList struct {
		Items []struct {
			Metadata metadata
			Spec     struct {
				Hostnames []string
				Rules     []struct {
					Matches []struct {
						Path struct{ Type, Value string }
					}
					BackendRefs []struct {
						Name string
						Port int
					}
				}
			}
		}
	}
)

func (l *ingressList) routes() (routes []route) {
	for _, item := range l.Items {
		for _, rule := range item.Spec.Rules {
			for _, p := range rule.HTTP.Paths {
				service := p.Backend.Service
				routes = append(routes, route{rule.Host, p.Path, p.PathType == "Exact", serviceURL(service.Name, item.Metadata, service.Port.Number)})
			}
		}
	}
	return routes
}

func (l *httpRouteList) routes() (routes []route) {
	for _, item := range l.Items {
		for _, rule := range item.Spec.Rules {
			for _, backend := range rule.BackendRefs {
				target := serviceURL(backend.Name, item.Metadata, backend.Port)
				for _, match := range rule.Matches {
					for _, host := range item.Spec.Hostnames {
						routes = append(routes, route{host, match.Path.Value, match.Path.Type == "Exact", target})
					}
				}
			}
		}
	}
	return routes
}

func serviceURL(name string, m metadata, port int) *url.URL {
	return &url.URL{Scheme: "http", Host: fmt.Sprintf("%s.%s.svc.cluster.local:%d", name, m.Namespace, port)}
}
