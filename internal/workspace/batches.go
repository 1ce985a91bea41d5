package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/aicli/aicli-web/internal/task"
)

// Bounds of batches.
const (
	MaxBatch = 1000 // items
	// window is how many items are under way at least where the caller says nothing: few enough to leave the owner's queue open for what is asked
	// for singly.
	window = 100
	// perWorker is how many items keep a worker busy, also where there are several servers.
	perWorker = 4
	// maxID bounds the ids that are looked for and kept. Ours have 29 characters.
	maxID = 64
)

// batchBounds are those of one owner.
var batchBounds = BatchBounds{Running: 10, Daily: 1000}

// BatchInput asks for one operation on many workspaces: those of the ids, or those that the filter selects.
type BatchInput struct {
	Operation   task.Type
	IDs         []string // nil: by the filter
	Filter      *Query   // nil: by the ids
	Concurrency *int     // nil: as many as the pool allows
	StopOnError bool
	DryRun      bool

	IdempotencyKey *string
}

// StartBatch commits a batch. Its items begin behind it; a dry run has ended when it is committed.
func (s *Service) StartBatch(ctx context.Context, actor Actor, in BatchInput) (Batch, error) {
	asked := in
	asked.IdempotencyKey = nil
	key, err := newOnce(actor, in.IdempotencyKey, "batch", asked)
	if err != nil {
		return Batch{}, err
	}
	return once(ctx, s, key, func() (Batch, error) {
		b, err := s.newBatch(actor, in)
		if err != nil {
			return Batch{}, err
		}
		items, err := s.itemsFor(ctx, actor, in)
		if err != nil {
			return Batch{}, err
		}
		return s.commitBatch(ctx, b, items, key)
	}, func(before Once) (Batch, error) { return s.store.Batch(ctx, before.BatchID) })
}

func (s *Service) newBatch(actor Actor, in BatchInput) (Batch, error) {
	b := Batch{
		ID: NewID(BatchPrefix), OwnerID: actor.ID, Operation: in.Operation, DryRun: in.DryRun, StopOnError: in.StopOnError,
		Concurrency: min(MaxBatch, max(window, perWorker*s.config.Workers)),
	}
	if in.Concurrency != nil {
		if b.Concurrency = *in.Concurrency; b.Concurrency < 1 || b.Concurrency > MaxBatch {
			return Batch{}, badInput(fmt.Sprintf("The concurrency must be between 1 and %d. Leave it out for as many as the server allows.", MaxBatch), "input", "concurrency")
		}
	}
	return b, nil
}

// itemsFor finds what a batch is about. What does not exist for the actor has ended before it begins.
func (s *Service) itemsFor(ctx context.Context, actor Actor, in BatchInput) ([]BatchItem, error) {
	switch {
	case (in.IDs == nil) == (in.Filter == nil):
		return nil, badInput("Say which workspaces: either by workspaceIds or by a filter.", "input", "workspaceIds")
	case in.Filter != nil:
		return s.itemsByFilter(ctx, actor, *in.Filter)
	case len(in.IDs) == 0:
		return nil, badInput("Name at least one workspace.", "input", "workspaceIds")
	}
	ids := make([]string, 0, min(len(in.IDs), MaxBatch+1))
	seen := make(map[string]bool, cap(ids))
	for i, id := range in.IDs {
		switch {
		case id == "" || len(id) > maxID:
			return nil, badInput(fmt.Sprintf("An id of a workspace has 1 to %d characters.", maxID), "input", "workspaceIds", strconv.Itoa(i))
		case !seen[id]: // one operation on one workspace is one item
			seen[id] = true
			ids = append(ids, id)
		}
	}
	if len(ids) > MaxBatch {
		return nil, badInput(tooMany(len(ids)), "input", "workspaceIds")
	}
	found, err := s.store.WorkspaceIDs(ctx, Query{OwnerID: actor.scope(), IDs: ids}, MaxBatch)
	if err != nil {
		return nil, err
	}
	exists := make(map[string]bool, len(found))
	for _, id := range found {
		exists[id] = true
	}
	items := make([]BatchItem, 0, len(ids))
	for _, id := range ids {
		item := BatchItem{WorkspaceID: id, Status: ItemQueued}
		if !exists[id] {
			item = missing(item)
		}
		items = append(items, item)
	}
	return items, nil
}

func (s *Service) itemsByFilter(ctx context.Context, actor Actor, q Query) ([]BatchItem, error) {
	owner, err := ownerFor(actor, q.OwnerID)
	if err == nil {
		q, err = checkFilter(q)
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return nil, &Error{Code: e.Code, Message: e.Message, Field: append([]string{"input"}, e.Field...)}
	}
	q.OwnerID = owner
	found, err := s.store.WorkspaceIDs(ctx, q, MaxBatch+1)
	switch {
	case err != nil:
		return nil, err
	case len(found) > MaxBatch:
		return nil, badInput(tooMany(len(found)), "input", "filter")
	}
	items := make([]BatchItem, len(found))
	for i, id := range found {
		items[i] = BatchItem{WorkspaceID: id, Status: ItemQueued}
	}
	return items, nil
}

func tooMany(n int) string {
	return fmt.Sprintf("A batch has at most %d workspaces, and these are %d or more. Split them over several batches.", MaxBatch, n)
}

func missing(item BatchItem) BatchItem {
	item.Status, item.Failure = ItemSkipped, failureOf(errNotFound("workspace"))
	return item
}

// commitBatch inserts a batch with its items, and has them begun.
func (s *Service) commitBatch(ctx context.Context, b Batch, items []BatchItem, key Once) (Batch, error) {
	if b.DryRun {
		if err := s.foresee(ctx, b, items); err != nil {
			return Batch{}, err
		}
	}
	b.Total = len(items)
	for i := range items {
		items[i].BatchID, items[i].Position = b.ID, i
		b.Count(items[i].Status, 1)
	}
	if key.Key != "" {
		key.BatchID = b.ID
	}
	b, err := s.store.CreateBatch(ctx, b, items, batchBounds, key)
	if err == nil {
		s.logged()
	}
	return b, err
}

// foresee says of each item how it would end, were every task to succeed and each to end before the next begins.
func (s *Service) foresee(ctx context.Context, b Batch, items []BatchItem) error {
	const piece = 100 // rows held at once
	stopped := false
	for part := range slices.Chunk(items, piece) {
		ids := make([]string, len(part))
		for i, item := range part {
			ids[i] = item.WorkspaceID
		}
		workspaces, err := s.store.WorkspacesByID(ctx, ids)
		if err != nil {
			return err
		}
		live, err := s.store.LiveTasks(ctx, ids)
		if err != nil {
			return err
		}
		for i, item := range part {
			w, exists := workspaces[item.WorkspaceID]
			switch {
			case item.Status != ItemQueued:
			case !exists:
				part[i] = missing(item)
			default:
				if _, part[i].Status, part[i].Failure = b.outlook(w, live[w.ID]); part[i].Status == ItemQueued {
					part[i].Status = ItemSucceeded
				}
				if stopped {
					part[i].Status, part[i].Failure = ItemCancelled, b.WhyHalted()
				}
				stopped = stopped || b.StopOnError && part[i].Status == ItemFailed
			}
		}
	}
	return nil
}

// CancelBatch has nothing of a batch begin any more. What is under way goes on, and the batch ends with it.
func (s *Service) CancelBatch(ctx context.Context, actor Actor, id string) (Batch, error) {
	if _, err := s.ownBatch(ctx, actor, id); err != nil {
		return Batch{}, err
	}
	b, err := s.store.CancelBatch(ctx, id)
	if err != nil {
		return Batch{}, err
	}
	s.logged() // so that what waits is cancelled: see halt
	return b, nil
}

// RetryBatch begins a new batch of the items that failed or were cancelled.
func (s *Service) RetryBatch(ctx context.Context, actor Actor, id string) (Batch, error) {
	b, err := s.ownBatch(ctx, actor, id)
	switch {
	case err != nil:
		return Batch{}, err
	case b.Status == BatchRunning:
		return Batch{}, conflict("The batch is still running. Wait for its end, or cancel it.")
	case b.DryRun:
		return Batch{}, conflict("A dry run does nothing that could be run again. Start a batch.")
	case b.Failed+b.Cancelled == 0:
		return Batch{}, conflict("No item of the batch has failed or was cancelled.")
	}
	ids, err := s.store.UnsuccessfulItems(ctx, id)
	if err != nil {
		return Batch{}, err
	}
	owner := Actor{ID: b.OwnerID, Admin: actor.Admin} // whoever runs it again, it is the same one's
	return s.StartBatch(ctx, owner, BatchInput{Operation: b.Operation, IDs: ids, Concurrency: &b.Concurrency, StopOnError: b.StopOnError})
}

// Batch finds one batch for somebody.
func (s *Service) Batch(ctx context.Context, actor Actor, id string) (Batch, error) {
	b, err := s.store.Batch(ctx, id)
	if err == nil && !actor.sees(b.OwnerID) {
		return Batch{}, errNotFound("batch")
	}
	return b, err
}

// BatchesByID finds those of the ids that exist for the actor.
func (s *Service) BatchesByID(ctx context.Context, actor Actor, ids []string) (map[string]Batch, error) {
	found, err := s.store.BatchesByID(ctx, ids)
	for id, b := range found {
		if !actor.sees(b.OwnerID) {
			delete(found, id)
		}
	}
	return found, err
}

// Batches lists batches for somebody, newest first.
func (s *Service) Batches(ctx context.Context, actor Actor, w Window) (Page[Batch], error) {
	return s.store.Batches(ctx, actor.scope(), w)
}

// BatchItems lists the items of a batch that was found for somebody, in the order asked for. What has ended among them is what the batch
// has counted, however much has ended since.
func (s *Service) BatchItems(ctx context.Context, b Batch, w Window) (Page[BatchItem], error) {
	return s.store.BatchItems(ctx, b.ID, b.Revision, w)
}

// ownBatch is Batch for requests, whose errors name the field.
func (s *Service) ownBatch(ctx context.Context, actor Actor, id string) (Batch, error) {
	b, err := s.Batch(ctx, actor, id)
	if CodeOf(err) == NotFound {
		return b, errNotFound("batch", "input", "id")
	}
	return b, err
}
