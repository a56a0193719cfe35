//! Hot-plug into a running QEMU over QMP.
