package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"
)

// turns is the number of stretches of a compared load.
const turns = 4

// inTurns runs the compared loads in turns, each for length in total, because the speed of a shared machine changes
// from minute to minute.
func inTurns(ctx context.Context, length time.Duration, each ...func(context.Context, time.Duration) error) error {
	for range turns {
		for _, drive := range each {
			if err := drive(ctx, length/turns); err != nil {
				return err
			}
		}
	}
	return nil
}

// These name the loads with many orders stored, and with an empty store beside them.
const fullStore, emptyStore = "many stored", "none stored"

// besideRawWrites runs a load, and raw writes before and after it.
func (b *bench) besideRawWrites(ctx context.Context, do task) error {
	s, err := b.begin(ctx, do)
	if err != nil {
		return err
	}
	someone, err := b.target.register(ctx, 0)
	if err != nil {
		return err
	}
	raw := &rawWrites{plane: b.plane, account: path.Base(someone.URL()), writers: do.clients}
	length := b.options.length
	if err := errors.Join(raw.drive(ctx, length/2), s.drive(ctx, length), raw.drive(ctx, length/2)); err != nil {
		return err
	}
	b.report.RawWrites = raw.rate()
	return b.add(s)
}

// besideAnEmptyStore runs the same loads in turns with many orders stored and with none. Both planes run all the
// time, so the background work of one also slows the other.
func (b *bench) besideAnEmptyStore(ctx context.Context, full, empty *bench) error {
	for _, do := range []task{one, some} {
		without, with := do, do
		without.of, with.of = emptyStore, fullStore
		if err := b.compare(ctx, side{empty, without}, side{full, with}); err != nil {
			return err
		}
	}
	return nil
}

// side is a load to compare and the bench that runs it.
type side struct {
	on *bench
	do task
}

// compare runs loads in turns.
func (b *bench) compare(ctx context.Context, sides ...side) error {
	var sessions []*session
	var drives []func(context.Context, time.Duration) error
	for _, side := range sides {
		s, err := side.on.begin(ctx, side.do)
		if err != nil {
			return fmt.Errorf("%s, %d clients: %w", side.do.of, side.do.clients, err)
		}
		sessions, drives = append(sessions, s), append(drives, s.drive)
	}
	if err := inTurns(ctx, b.options.length, drives...); err != nil {
		return err
	}
	for _, s := range sessions {
		if err := b.add(s); err != nil {
			return err
		}
	}
	return nil
}
