-- +goose Up
-- Lists are in the order of creation, so that a page of a few is read from the index however much has ended. What waits and is not due is
-- passed over in the index.
DROP INDEX tasks_by_owner;
DROP INDEX tasks_by_workspace;
DROP INDEX tasks_by_batch;
DROP INDEX batches_by_owner;
DROP INDEX tasks_waiting;
CREATE INDEX tasks_by_creation ON tasks (created_at, id);
CREATE INDEX tasks_by_owner ON tasks (owner_id, created_at, id);
CREATE INDEX tasks_by_workspace ON tasks (workspace_id, created_at, id);
CREATE INDEX tasks_by_batch ON tasks (batch_id, created_at, id) WHERE batch_id <> '';
CREATE INDEX batches_by_creation ON batches (created_at, id);
CREATE INDEX batches_by_owner ON batches (owner_id, created_at, id);
CREATE INDEX tasks_waiting ON tasks (lane, turn, id, run_at) WHERE status IN ('QUEUED', 'RETRYING');

-- +goose Down
DROP INDEX tasks_waiting;
DROP INDEX batches_by_owner;
DROP INDEX batches_by_creation;
DROP INDEX tasks_by_batch;
DROP INDEX tasks_by_workspace;
DROP INDEX tasks_by_owner;
DROP INDEX tasks_by_creation;
CREATE INDEX tasks_waiting ON tasks (lane, turn, id) WHERE status IN ('QUEUED', 'RETRYING');
CREATE INDEX batches_by_owner ON batches (owner_id, id);
CREATE INDEX tasks_by_batch ON tasks (batch_id, id) WHERE batch_id <> '';
CREATE INDEX tasks_by_workspace ON tasks (workspace_id, id);
CREATE INDEX tasks_by_owner ON tasks (owner_id, id);
