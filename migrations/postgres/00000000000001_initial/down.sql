DROP TABLE events;
DROP TABLE messages;
DROP TABLE volume_types;
DROP TABLE quota_usages;
DROP TABLE servers;
DROP TABLE operations;
DROP TABLE attachments;
DROP TABLE volumes;
