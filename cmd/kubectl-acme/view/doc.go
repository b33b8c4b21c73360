// Package view makes text of objects, for people at a terminal. It is pure: it fetches nothing, and knows the time only as
// it is told it.
//
// What comes from the cluster may have been written by a client, so every piece of it passes Clean before it is written:
// a name, a contact or a problem can't move the cursor, change colours or hide what stands beside it.
package view
