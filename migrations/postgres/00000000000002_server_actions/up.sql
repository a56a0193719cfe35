-- What was done to servers on behalf of requests. A row is written in the commit that begins the work and in the one that ends
-- it.
CREATE TABLE server_actions (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    server_id TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    project_id TEXT COLLATE "C" NOT NULL,
    -- none: it is under way
    ended_at BIGINT,
    -- of one that has ended; none: it has not failed
    failure TEXT COLLATE "C"
);

CREATE INDEX server_actions_by_server ON server_actions (server_id, started_at, id);
CREATE INDEX server_actions_by_time ON server_actions (started_at);
