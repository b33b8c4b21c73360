// Package ordercache decides which orders caches hold (Holds, Selectors), and which fields of them (Compact, DropHandled).
package ordercache
