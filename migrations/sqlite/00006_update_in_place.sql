-- +goose Up
-- A workspace changes with each step of its tasks, and a list in the order of changes is asked for seldom: sorting for that costs less than an
-- index that every change has to be entered in.
DROP INDEX workspaces_by_update;

-- +goose Down
CREATE INDEX workspaces_by_update ON workspaces (updated_at, id);
