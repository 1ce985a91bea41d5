-- +goose Up
-- Values of variables were compared with those of the schema without their case, and kept as they came.
UPDATE workspaces SET policy = json_set(policy, '$.fallback', UPPER(json_extract(policy, '$.fallback')))
    WHERE json_extract(policy, '$.fallback') <> UPPER(json_extract(policy, '$.fallback'));
UPDATE tasks SET type = UPPER(type) WHERE type <> UPPER(type);
UPDATE batches SET operation = UPPER(operation) WHERE operation <> UPPER(operation);

-- +goose Down
SELECT 1;
