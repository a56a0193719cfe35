-- What was done to servers on behalf of requests. A row is written in the commit that begins the work and in the one that ends
-- it: the order of the key puts a server's actions together, so that an insertion touches one place.
CREATE TABLE server_actions (
    server_id TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    id TEXT NOT NULL,
    action TEXT NOT NULL,
    request_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    -- none: it is under way
    ended_at BIGINT,
    -- of one that has ended; none: it has not failed
    failure TEXT,
    PRIMARY KEY (server_id, started_at, id)
) WITHOUT ROWID;

CREATE INDEX server_actions_by_time ON server_actions (started_at);
