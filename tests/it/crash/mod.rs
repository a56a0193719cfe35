//! `kill -9` of the shipped binary, and what must be true after its restart.

mod file;
