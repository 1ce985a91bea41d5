-- +goose Up
-- What is done when a container does not run although it should, how far that is, and how the container last ended. All are JSON.
ALTER TABLE workspaces ADD COLUMN policy TEXT NOT NULL DEFAULT '{"maxRetries":5,"backoff":1000000000,"fallback":"STOP"}';
ALTER TABLE workspaces ADD COLUMN recovery TEXT NOT NULL DEFAULT '{}';
ALTER TABLE workspaces ADD COLUMN last_exit TEXT;

-- +goose Down
ALTER TABLE workspaces DROP COLUMN last_exit;
ALTER TABLE workspaces DROP COLUMN recovery;
ALTER TABLE workspaces DROP COLUMN policy;
