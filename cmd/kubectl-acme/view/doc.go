// Package view makes text of objects, for people at a terminal. It is pure: it fetches nothing, and knows the time only as
// it is told it.
//
// Text from the cluster may be a client's, so Clean is applied to all of it. A name, contact or problem can't move the cursor, change
// colours or hide other text.
package view
