# The image has one static program and nothing else: no shell, no libraries, no user but a number.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS
ARG TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY acmeserver acmeserver
COPY cmd cmd
COPY controllers controllers
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w" -o /acmeca ./cmd/acmeca

FROM scratch
COPY --from=build /acmeca /acmeca
USER 65532:65532
ENTRYPOINT ["/acmeca"]
