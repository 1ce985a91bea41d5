-- +goose Up
-- What a workspace says in place of its image's health check, as JSON; NULL: what the image says.
ALTER TABLE workspaces ADD COLUMN health_check TEXT;

-- +goose Down
ALTER TABLE workspaces DROP COLUMN health_check;
