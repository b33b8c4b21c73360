# syntax=docker/dockerfile:1
# The image has one static program and nothing else: no shell, no libraries, no user but a number. It is built where the
# builder runs, for the platform that the image is for.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
ARG TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY api api
COPY acmeserver acmeserver
COPY cmd cmd
COPY controllers controllers
COPY internal internal
COPY hack/release-binary.sh hack/release-binary.sh
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    GOARCH=$TARGETARCH hack/release-binary.sh /acmeca

FROM scratch
LABEL org.opencontainers.image.title="acmeca" \
      org.opencontainers.image.description="An ACME certificate authority on Kubernetes resources" \
      org.opencontainers.image.source="https://github.com/acmeca/acmeca" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /acmeca /acmeca
USER 65532:65532
ENTRYPOINT ["/acmeca"]
