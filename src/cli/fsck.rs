//! `hearth fsck`: compares records, backends and guests, and tells each difference. Read-only.
