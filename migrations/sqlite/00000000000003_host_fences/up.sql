-- Operators' words that a host is dead. A row stays when the host is taken back: its epoch counts on.
CREATE TABLE host_fences (
    host TEXT NOT NULL PRIMARY KEY,
    epoch BIGINT NOT NULL,
    proof TEXT NOT NULL,
    user_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    fenced_at BIGINT NOT NULL,
    lifted_at BIGINT
);
