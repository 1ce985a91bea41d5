-- +goose Up
-- Somebody wants the task cancelled, and whoever runs it has yet to see that.
ALTER TABLE tasks ADD COLUMN cancel BOOLEAN NOT NULL DEFAULT FALSE;

-- +goose Down
ALTER TABLE tasks DROP COLUMN cancel;
