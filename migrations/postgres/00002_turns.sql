-- +goose Up
-- Owners take turns: of each lane the task with the lowest turn is next. See store/turn.go.
ALTER TABLE tasks ADD COLUMN lane INTEGER NOT NULL DEFAULT 0; -- 0: quick, 1: may pull an image
ALTER TABLE tasks ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
UPDATE tasks SET lane = 1 WHERE type IN ('CREATE', 'START', 'RESTART');
DROP INDEX tasks_waiting;
CREATE INDEX tasks_waiting ON tasks (lane, turn, id) WHERE status IN ('QUEUED', 'RETRYING');
CREATE INDEX tasks_running ON tasks (lane, turn) WHERE status = 'RUNNING';
CREATE INDEX tasks_live_by_owner ON tasks (owner_id, lane, turn) WHERE status IN ('QUEUED', 'RETRYING', 'RUNNING');
-- What has ended is pruned by age and by number.
CREATE INDEX tasks_ended ON tasks (finished_at, id) WHERE finished_at IS NOT NULL;

-- +goose Down
DROP INDEX tasks_ended;
DROP INDEX tasks_live_by_owner;
DROP INDEX tasks_running;
DROP INDEX tasks_waiting;
CREATE INDEX tasks_waiting ON tasks (run_at, id) WHERE status IN ('QUEUED', 'RETRYING');
ALTER TABLE tasks DROP COLUMN turn;
ALTER TABLE tasks DROP COLUMN lane;
