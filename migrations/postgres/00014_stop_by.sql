-- +goose Up
-- Until when a container that the task is to stop may end by itself; NULL: it has not been told to end.
ALTER TABLE tasks ADD COLUMN stop_by BIGINT;

-- +goose Down
ALTER TABLE tasks DROP COLUMN stop_by;
