-- +goose Up
-- Answers that are given again to who asks with the same key: what was asked for, and where the answer is.
CREATE TABLE idempotency_keys (
    caller       TEXT   NOT NULL,
    key          TEXT   NOT NULL,
    fingerprint  TEXT   NOT NULL, -- of the mutation and its input
    workspace_id TEXT   NOT NULL,
    task_id      TEXT   NOT NULL, -- empty: none was needed
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE INDEX idempotency_keys_by_creation ON idempotency_keys (created_at);

-- +goose Down
DROP TABLE idempotency_keys;
