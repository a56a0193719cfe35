//! The `hearth` binary: arguments go to the library, its exit code comes back.

use std::process::ExitCode;

/// Many small allocations on several threads: measurably faster than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hearth::cli::main(std::env::args_os())
}
