-- +goose Up
-- Values of variables were compared with those of the schema without their case, and kept as they came.
UPDATE workspaces SET policy = jsonb_set(policy::JSONB, '{fallback}', to_jsonb(UPPER(policy::JSONB ->> 'fallback')))::TEXT
    WHERE policy::JSONB ->> 'fallback' <> UPPER(policy::JSONB ->> 'fallback');
UPDATE tasks SET type = UPPER(type) WHERE type <> UPPER(type);
UPDATE batches SET operation = UPPER(operation) WHERE operation <> UPPER(operation);

-- +goose Down
SELECT 1;
