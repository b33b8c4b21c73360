// Package history records what an acmeca did, as the API server stored it, as its clients were told, and as its audit log
// has it, and checks what a CA promises, whatever died meanwhile.
package history
