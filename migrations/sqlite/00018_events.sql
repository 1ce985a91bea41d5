-- The event log: what each commit did. See store/event.go.

-- +goose Up
CREATE TABLE events (
    seq          INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- in the order of the commits
    at           BIGINT NOT NULL,
    type         TEXT   NOT NULL,
    owner_id     TEXT   NOT NULL,
    workspace_id TEXT   NOT NULL, -- empty for a batch; no reference, since events outlive what they tell of
    workspace    TEXT, -- JSON, as it was right after and without secrets; NULL where it is as after the event of it before
    previous     TEXT, -- JSON: what filters ask for, as it was right before, where that is otherwise
    task         TEXT, -- JSON
    batch        TEXT, -- JSON
    actor        TEXT   NOT NULL,
    message      TEXT   NOT NULL
);
CREATE INDEX events_of_workspace ON events (workspace_id, seq);

CREATE TABLE event_log (
    pruned BIGINT NOT NULL -- one row: what has this position or one before it is not read any more
);
INSERT INTO event_log (pruned) VALUES (0);

-- +goose Down
DROP TABLE event_log;
DROP TABLE events;
