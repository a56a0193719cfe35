//! The `file` backend: raw files in a directory, exported by storage daemons.
