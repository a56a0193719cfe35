//! Waiting with the precision that an arrival schedule needs: the runtime's own timers are whole milliseconds, which would
//! be counted as latency.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;

/// A timer of the kernel.
pub(super) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// Of the running runtime.
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: plain system call without pointers
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was made just now and nobody else has it
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the descriptor is owned: it stays open, and the same, as long as it is registered
        Ok(Self(unsafe { AsyncFd::register(fd) }?))
    }

    /// Returns at `at`, or at once when that has passed.
    pub(super) async fn wait_until(&self, at: Instant) -> io::Result<()> {
        let wait = at.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        self.set(wait)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0_u8; 8];
            let read = ready.try_io(|fd| {
                // SAFETY: the buffer lives through the call and has the length that is passed
                match unsafe { libc::read(fd.as_raw_fd(), expirations.as_mut_ptr().cast(), expirations.len()) } {
                    count if count < 0 => Err(io::Error::last_os_error()),
                    _ => Ok(()),
                }
            });
            match read {
                Ok(result) => return result,
                // not yet after all
                Err(_) => continue,
            }
        }
    }

    fn set(&self, wait: Duration) -> io::Result<()> {
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::timespec {
            tv_sec: libc::time_t::try_from(wait.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(wait.subsec_nanos().cast_signed()),
        };
        let setting = libc::itimerspec { it_interval: none, it_value: value };
        // SAFETY: the descriptor is open, the setting lives through the call, and no old setting is asked for
        match unsafe {
            libc::timerfd_settime(self.0.get_ref().as_raw_fd(), 0, &raw const setting, std::ptr::null_mut())
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_never_early_and_can_be_used_again() {
        let timer = Timer::new().expect("a timer");
        for micros in [0, 300, 1_700] {
            let at = Instant::now() + Duration::from_micros(micros);
            timer.wait_until(at).await.expect("the wait ends");
            assert!(Instant::now() >= at, "{micros} µs");
        }
    }
}
