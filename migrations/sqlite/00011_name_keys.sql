-- +goose Up
-- The name in the form that names are ordered and searched by, on both databases alike and whatever their locale. Migration 12 fills it in.
ALTER TABLE workspaces ADD COLUMN name_key TEXT NOT NULL DEFAULT '';
ALTER TABLE workspaces DROP COLUMN name_folded;
CREATE INDEX workspaces_by_owner_and_name ON workspaces (owner_id, name_key, id);
CREATE INDEX workspaces_by_name ON workspaces (name_key, id);

-- +goose Down
DROP INDEX workspaces_by_name;
DROP INDEX workspaces_by_owner_and_name;
ALTER TABLE workspaces ADD COLUMN name_folded TEXT NOT NULL DEFAULT '';
ALTER TABLE workspaces DROP COLUMN name_key;
