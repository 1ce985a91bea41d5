-- +goose Up
-- The identity of the database that the installation belongs to: a copy carries it, and has another one. See store/identity.go.
ALTER TABLE installation ADD COLUMN home TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE installation DROP COLUMN home;
