-- +goose Up
-- One operation on many workspaces. The counts are written together with the items.
CREATE TABLE batches (
    id            TEXT    NOT NULL PRIMARY KEY, -- sorts by creation
    owner_id      TEXT    NOT NULL,
    operation     TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    dry_run       BOOLEAN NOT NULL,
    concurrency   INTEGER NOT NULL,
    stop_on_error BOOLEAN NOT NULL,
    cancel        BOOLEAN NOT NULL,
    total         INTEGER NOT NULL,
    succeeded     INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    skipped       INTEGER NOT NULL,
    cancelled     INTEGER NOT NULL,
    created_at    BIGINT  NOT NULL,
    finished_at   BIGINT,
    revision      BIGINT  NOT NULL
);
CREATE INDEX batches_running ON batches (id) WHERE status = 'RUNNING';
CREATE INDEX batches_by_owner ON batches (owner_id, id);
CREATE INDEX batches_ended ON batches (finished_at, id) WHERE finished_at IS NOT NULL;

-- An item is QUEUED until it has ended; whether its task runs is for the task to say.
CREATE TABLE batch_items (
    batch_id     TEXT    NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    workspace_id TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    task_id      TEXT    NOT NULL, -- empty: its turn has not come, or no task was needed
    failure      TEXT, -- JSON
    revision     BIGINT  NOT NULL, -- of the batch, that its last change came with
    PRIMARY KEY (batch_id, position)
);
CREATE INDEX batch_items_live ON batch_items (batch_id, task_id, position) WHERE status = 'QUEUED';
CREATE INDEX batch_items_by_task ON batch_items (task_id) WHERE status = 'QUEUED';

ALTER TABLE tasks ADD COLUMN batch_id TEXT NOT NULL DEFAULT ''; -- of the batch that it is part of
ALTER TABLE tasks ADD COLUMN in_batch BOOLEAN NOT NULL DEFAULT FALSE; -- a batch waits for it, its own or one that joined it
CREATE INDEX tasks_by_batch ON tasks (batch_id, id) WHERE batch_id <> '';
ALTER TABLE workspaces ADD COLUMN asked_at BIGINT NOT NULL DEFAULT 0; -- when its desired state was asked for
ALTER TABLE idempotency_keys ADD COLUMN batch_id TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE idempotency_keys DROP COLUMN batch_id;
ALTER TABLE workspaces DROP COLUMN asked_at;
DROP INDEX tasks_by_batch;
ALTER TABLE tasks DROP COLUMN in_batch;
ALTER TABLE tasks DROP COLUMN batch_id;
DROP TABLE batch_items;
DROP TABLE batches;
