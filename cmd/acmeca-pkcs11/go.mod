// The key service for PKCS#11. A separate module, since it needs cgo and the library of an HSM's vendor.
module github.com/acmeca/acmeca/cmd/acmeca-pkcs11

go 1.26.0

replace github.com/acmeca/acmeca => ../..

require (
	github.com/acmeca/acmeca v0.0.0-00010101000000-000000000000
	github.com/go-logr/logr v1.4.4
	github.com/miekg/pkcs11 v1.1.2
	golang.org/x/crypto v0.59.0
)

require (
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/text v0.44.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260803160001-6ac0973c030d // indirect
	google.golang.org/grpc v1.83.0 // indirect
	google.golang.org/protobuf v1.36.12-0.20260120151049-f2248ac996af // indirect
)
