-- +goose Up
-- One queue: a lane is one of an owner's two lines, and no longer has workers of its own. See store/turn.go.
DROP INDEX tasks_waiting;
DROP INDEX tasks_running;
CREATE INDEX tasks_waiting ON tasks (turn, id, run_at, owner_id) WHERE status IN ('QUEUED', 'RETRYING');
CREATE INDEX tasks_running ON tasks (turn) WHERE status = 'RUNNING';
UPDATE tasks SET lane = 0 WHERE lane = 1 AND type NOT IN ('CREATE', 'START', 'RESTART', 'RECREATE') AND status IN ('QUEUED', 'RETRYING', 'RUNNING');

-- +goose Down
DROP INDEX tasks_running;
DROP INDEX tasks_waiting;
CREATE INDEX tasks_running ON tasks (lane, turn) WHERE status = 'RUNNING';
CREATE INDEX tasks_waiting ON tasks (lane, turn, id, run_at) WHERE status IN ('QUEUED', 'RETRYING');
