-- +goose Up
-- The path of the project in the form that paths are compared by, so that no project comes to lie within another. Migration 10 fills it in.
ALTER TABLE workspaces ADD COLUMN project_key TEXT COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX workspaces_by_project ON workspaces (owner_id, project_key);

-- +goose Down
DROP INDEX workspaces_by_project;
ALTER TABLE workspaces DROP COLUMN project_key;
