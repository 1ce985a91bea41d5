-- Instants are microseconds since 1970 in UTC, so that both dialects order and compare them alike.

-- +goose Up
CREATE TABLE installation (
    id TEXT NOT NULL PRIMARY KEY -- one row: the label by which our containers are told from another server's
);

CREATE TABLE workspaces (
    id                TEXT   NOT NULL PRIMARY KEY,
    owner_id          TEXT   NOT NULL,
    name              TEXT   NOT NULL,
    name_folded       TEXT   NOT NULL, -- in lower case, for searches: the databases fold differently
    project_path      TEXT   NOT NULL,
    image             TEXT   NOT NULL,
    command           TEXT   NOT NULL, -- JSON
    environment       TEXT   NOT NULL, -- JSON, secrets included
    labels            TEXT   NOT NULL, -- JSON; workspace_labels has the same for filters
    cpus              DOUBLE PRECISION NOT NULL,
    memory_bytes      BIGINT NOT NULL,
    pids              INTEGER NOT NULL,
    desired_state     TEXT   NOT NULL,
    observed          TEXT   NOT NULL, -- JSON
    failure           TEXT, -- JSON
    status            TEXT   NOT NULL, -- computed at each change
    status_reason     TEXT,
    status_since      BIGINT NOT NULL,
    active_task_count INTEGER NOT NULL,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    version           BIGINT NOT NULL,
    UNIQUE (owner_id, name)
);
CREATE INDEX workspaces_by_owner_and_creation ON workspaces (owner_id, created_at, id);
CREATE INDEX workspaces_by_creation ON workspaces (created_at, id);
CREATE INDEX workspaces_by_update ON workspaces (updated_at, id);

CREATE TABLE workspace_labels (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    key          TEXT NOT NULL,
    value        TEXT NOT NULL,
    PRIMARY KEY (workspace_id, key)
);
CREATE INDEX workspace_labels_by_value ON workspace_labels (key, value, workspace_id);

-- A reserved subnet. slot is the network's address without its host bits, so that it stays what it is when the pool is
-- configured anew. One without a workspace is in use by somebody else on the engine's host.
CREATE TABLE subnets (
    slot          BIGINT NOT NULL PRIMARY KEY,
    workspace_id  TEXT UNIQUE REFERENCES workspaces (id) ON DELETE CASCADE,
    blocked_until BIGINT NOT NULL DEFAULT 0
);

-- Tasks outlive their workspace.
CREATE TABLE tasks (
    id           TEXT   NOT NULL PRIMARY KEY, -- sorts by creation
    type         TEXT   NOT NULL,
    status       TEXT   NOT NULL,
    workspace_id TEXT   NOT NULL,
    owner_id     TEXT   NOT NULL,
    requested_by TEXT   NOT NULL,
    attempt      INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    step         TEXT   NOT NULL,
    progress     DOUBLE PRECISION,
    failure      TEXT, -- JSON
    params       TEXT   NOT NULL, -- JSON
    created_at   BIGINT NOT NULL,
    run_at       BIGINT NOT NULL,
    started_at   BIGINT,
    finished_at  BIGINT,
    revision     BIGINT NOT NULL,
    lease_holder TEXT   NOT NULL,
    lease_token  BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL
);
CREATE INDEX tasks_waiting ON tasks (run_at, id) WHERE status IN ('QUEUED', 'RETRYING');
CREATE INDEX tasks_live ON tasks (workspace_id, id) WHERE status IN ('QUEUED', 'RETRYING', 'RUNNING');
CREATE UNIQUE INDEX tasks_one_running ON tasks (workspace_id) WHERE status = 'RUNNING';
CREATE INDEX tasks_by_owner ON tasks (owner_id, id);
CREATE INDEX tasks_by_workspace ON tasks (workspace_id, id);

-- +goose Down
DROP TABLE tasks;
DROP TABLE subnets;
DROP TABLE workspace_labels;
DROP TABLE workspaces;
DROP TABLE installation;
