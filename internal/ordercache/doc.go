// Package ordercache decides how caches hold orders: which fields they drop (Compact), how finished orders are held in little
// memory (Packing), and how orders are found by serial number (SerialIndex). An order is needed as long as its certificate is
// valid, but is seldom read.
//
// Readers and event handlers of the informer receive ordinary orders. An order that has any unusual field is held unpacked.
package ordercache
