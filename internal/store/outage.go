package store

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// The loss of the database is found out, told and ended in one place. A statement that fails as one does that cannot reach the database, or that has had no
// answer for a while, is a reason to ask it for a sign of life, on a connection of its own. Where that does not come, the database is away: what is under
// way is cut, what comes is refused at once, and the log has one line. It is asked again and again, and with the first answer it is back: connections from
// before are dropped, and the log has another line. Likewise for one that answers and cannot be written, which reads are not kept from.

const (
	// silentMost is how long a statement may have no answer before the database is asked for a sign of life.
	silentMost = time.Second
	// signMost bounds that question, which needs some round trips. It is asked twice before a silent database is told as away.
	signMost = 1500 * time.Millisecond
	// askAgain is the time between two questions to a database that is away; the one before need not have ended.
	askAgain = 300 * time.Millisecond
	// signsMost bounds the questions under way: each ends within signMost.
	signsMost = 5
	// mentionGap is the least time between two lines about what is no loss.
	mentionGap = 10 * time.Second
	// writeAgain is the time between two tries to write to a database that cannot be written.
	writeAgain = 500 * time.Millisecond
)

// outage is what is known of the database as a whole.
type outage struct {
	sign  func(context.Context) error // asks it for a sign of life
	write func(context.Context) error // tries to write

	ctx  context.Context //nolint:containedctx // of all that asks, to the end of the store
	end  context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex
	log      *slog.Logger
	asking   bool // whether it is there
	broken   bool // a connection has failed since it was last asked
	away     error
	full     error // why it cannot be written; not nil: that is tried
	epoch    int   // of connections: those of one before are not used again
	underWay map[*pgx.Conn]struct{}

	mentioned time.Time     // when something was last mentioned
	trusted   time.Duration // how long a connection may have been idle to be used again unasked
	signMost  time.Duration // how long a sign of life may take
}

func newOutage() *outage {
	o := &outage{trusted: idleTrusted, signMost: signMost, log: slog.New(slog.DiscardHandler), underWay: make(map[*pgx.Conn]struct{})}
	o.ctx, o.end = context.WithCancel(context.Background())
	return o
}

func (o *outage) close() {
	o.mu.Lock()
	o.end() // nothing begins after that
	o.mu.Unlock()
	o.work.Wait()
}

// state is why the database cannot be used as a whole; nil when it can, as far as is known.
func (o *outage) state() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away != nil {
		return o.away
	}
	return o.full
}

// gate refuses what needs a database that is away.
func (o *outage) gate() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away != nil {
		return errAway
	}
	return nil
}

func (o *outage) now() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.epoch
}

// begin notes that a statement is under way on a connection, and done that it has ended.
func (o *outage) begin(conn *pgx.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.underWay[conn] = struct{}{}
}

func (o *outage) done(conn *pgx.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.underWay, conn)
}

// heed takes in what became of a statement.
func (o *outage) heed(err error) {
	switch lossOf(err) {
	case away:
		o.mu.Lock()
		o.broken = true
		o.mu.Unlock()
		o.doubt()
	case unwritable:
		o.stuck(err)
	case busy:
		o.mention(func() {
			o.log.Warn("the database has no time or no connection for all that is asked of it", "reason", err.Error())
		})
	case noLoss:
	}
}

// mention says something that is no loss of the database, which nobody else says, and not often.
func (o *outage) mention(say func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.away == nil && time.Since(o.mentioned) >= mentionGap {
		o.mentioned = time.Now()
		say()
	}
}

// doubt has the database asked for a sign of life, unless that is under way.
func (o *outage) doubt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.sign == nil || o.asking || o.ctx.Err() != nil {
		return
	}
	o.asking = true
	o.work.Go(o.ask)
}

func (o *outage) ask() {
	err := o.signed(o.ctx)
	if errors.Is(err, context.DeadlineExceeded) { // a machine that is busy may have been late once
		err = o.signed(o.ctx)
	}
	if err == nil {
		o.dropBroken()
		o.mention(func() { o.log.Warn("a connection to the database failed or was slow, and the database is there") })
	}
	if err != nil && o.ctx.Err() == nil {
		since := time.Now()
		o.lost(err)
		if o.await() {
			o.back(time.Since(since))
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asking = false
}

func (o *outage) signed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.signMost)
	defer cancel()
	if err := o.sign(ctx); lossOf(err) == away { // what else it says is an answer
		return err
	}
	return nil
}

// lost cuts what is under way: its connections are closed, so that it fails at once.
func (o *outage) lost(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = errNoAnswer
	for conn := range o.underWay {
		_ = conn.PgConn().Conn().Close() // whoever waits on it is told
	}
	o.log.Warn("the database is away: it is asked again and again, and requests are answered with DATABASE_UNAVAILABLE meanwhile", "reason", err.Error())
}

// await asks until there is an answer; false when the store is closed before.
func (o *outage) await() bool {
	ctx, cancel := context.WithCancel(o.ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	answered := make(chan struct{}, 1)
	free := make(chan struct{}, signsMost)
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		select {
		case <-answered:
			return true
		case <-ctx.Done():
			return false
		case <-again.C:
		}
		select {
		case free <- struct{}{}:
		default:
			continue
		}
		asking.Go(func() {
			defer func() { <-free }()
			if o.signed(ctx) != nil {
				return
			}
			select {
			case answered <- struct{}{}:
			default: // another was first
			}
		})
	}
}

func (o *outage) back(after time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away, o.broken = nil, false
	o.epoch++
	o.log.Info("the database is back", "away_for", after.Round(time.Millisecond))
}

// dropBroken has all connections dropped where one has failed though the database is there: it may have been restarted, and each of the others would
// fail once.
func (o *outage) dropBroken() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.broken {
		o.epoch++
	}
	o.broken = false
}

// renew has all connections dropped when they are to be used again.
func (o *outage) renew() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.epoch++
}

var errNotWritten = errors.New("the database cannot be written")

// stuck notes that the database cannot be written, and tries until it can.
func (o *outage) stuck(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.full != nil || o.ctx.Err() != nil {
		return
	}
	o.full = errNotWritten
	o.log.Warn("the database cannot be written: it is tried again and again, and changes are answered with DATABASE_UNAVAILABLE meanwhile", "reason", err.Error())
	o.work.Go(func() { o.tryWriting(time.Now(), err) })
}

// tryWriting tries until it can. That a database is read-only may be true of a connection alone, which was made to a standby, or under other settings: then
// none is used again.
func (o *outage) tryWriting(since time.Time, err error) {
	again := time.NewTicker(writeAgain)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-o.ctx.Done():
			return
		}
		if isReadOnly(err) {
			o.renew()
		}
		ctx, cancel := context.WithTimeout(o.ctx, signMost)
		err = o.write(ctx)
		cancel()
		if lossOf(err) != noLoss {
			continue
		}
		o.mu.Lock()
		o.full = nil
		o.log.Info("the database can be written again", "not_for", time.Since(since).Round(time.Millisecond))
		o.mu.Unlock()
		return
	}
}
