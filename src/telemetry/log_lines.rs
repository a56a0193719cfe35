//! Log lines on their way to standard error: collected in memory, written many at a time by a thread of their own.
//!
//! A request pays for a copy into a buffer, not for a system call, and never waits for whoever reads the log: what does not
//! fit any more is dropped and counted. A warning or an error is not kept waiting for company.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::Sample;

/// Bytes that may wait; beyond them lines are dropped.
pub const BYTES_MAX: usize = 4 << 20;
/// How long a line may wait for others to be written with.
const LINGER: Duration = Duration::from_millis(10);
/// How long the end of the process waits for the last lines: nobody may be reading.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// The lines that wait. Cheap to clone.
#[derive(Clone, Default)]
pub struct LogLines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write, or a reason not to linger.
    come: Condvar,
    /// All that was there has been written.
    written: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    /// The writer has taken lines and not written them yet.
    is_writing: bool,
    is_urgent: bool,
    dropped: u64,
    dropped_untold: u64,
}

impl LogLines {
    /// Writes what comes to `out`, on a thread that lives as long as the process.
    pub fn write_to(out: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self::default();
        let shared = Arc::clone(&lines.0);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.serve(out))?;
        Ok(lines)
    }

    /// Adds a line with its end, unless too much is waiting. Never waits for the reader of the log.
    fn push(&self, line: &[u8], is_urgent: bool) {
        let mut waiting = self.0.lock();
        if waiting.text.len() + line.len() > BYTES_MAX {
            waiting.dropped += 1;
            waiting.dropped_untold += 1;
            return;
        }
        let is_news = waiting.text.is_empty() || (is_urgent && !waiting.is_urgent);
        waiting.text.extend_from_slice(line);
        waiting.is_urgent |= is_urgent;
        drop(waiting);
        if is_news {
            self.0.come.notify_one();
        }
    }

    /// Waits until all lines are written, but not for long.
    pub fn flush(&self) {
        let mut waiting = self.0.lock();
        waiting.is_urgent = true;
        self.0.come.notify_one();
        let unwritten = |waiting: &mut Waiting| !waiting.text.is_empty() || waiting.is_writing;
        drop(self.0.written.wait_timeout_while(waiting, FLUSH_PATIENCE, unwritten));
    }

    /// What is to be seen at this instant.
    pub fn samples(&self) -> Vec<Sample> {
        let waiting = self.0.lock();
        let mut samples = vec![Sample::counter(
            "log_lines_dropped",
            "Log lines dropped because too many waited to be written",
            waiting.dropped,
        )];
        samples.extend(Sample::bound("log.bytes", "", waiting.text.len() as u64, BYTES_MAX as u64));
        samples
    }
}

impl Shared {
    fn serve(&self, mut out: impl Write) {
        let mut batch = Vec::new();
        loop {
            let mut waiting = self.lock();
            waiting.is_writing = false;
            self.written.notify_all();
            while waiting.text.is_empty() {
                // a flush of nothing is no reason to hurry with the next line
                waiting.is_urgent = false;
                waiting = self.come.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let alone = self.come.wait_timeout_while(waiting, LINGER, |waiting| !waiting.is_urgent);
            (waiting, _) = alone.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut waiting.text, &mut batch);
            let dropped = std::mem::take(&mut waiting.dropped_untold);
            waiting.is_urgent = false;
            waiting.is_writing = true;
            drop(waiting);
            if dropped > 0 {
                batch.extend_from_slice(format!("hearth: {dropped} log lines were dropped here\n").as_bytes());
            }
            // a log that cannot be written is no reason to end
            let _ = out.write_all(&batch).and_then(|()| out.flush());
            batch.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes one event's line.
pub struct LineWriter<'a> {
    lines: &'a LogLines,
    is_urgent: bool,
}

impl Write for LineWriter<'_> {
    /// The formatter writes each line at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.push(line, self.is_urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter { lines: self, is_urgent: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        LineWriter { lines: self, is_urgent: *metadata.level() <= Level::WARN }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Gives each write to a channel, and takes it only when it is allowed to.
    struct Gate {
        written: Sender<Vec<u8>>,
        allowed: Receiver<()>,
    }

    impl Write for Gate {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.allowed.recv().map_err(io::Error::other)?;
            self.written.send(text.to_vec()).map_err(io::Error::other)?;
            Ok(text.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate() -> (LogLines, Sender<()>, Receiver<Vec<u8>>) {
        let ((written, seen), (allow, allowed)) = (channel(), channel());
        (LogLines::write_to(Gate { written, allowed }).expect("a thread"), allow, seen)
    }

    fn text(seen: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(seen.recv().expect("the writer lives")).expect("text")
    }

    #[test]
    fn lines_are_written_in_order_and_flush_waits_for_all_of_them() {
        let (lines, allow, seen) = gate();
        lines.push(b"one\n", false);
        lines.push(b"two\n", true);
        allow.send(()).expect("the writer lives");
        let mut all = text(&seen);
        while all != "one\ntwo\n" {
            allow.send(()).expect("the writer lives");
            all += &text(&seen);
        }
        lines.push(b"three\n", false);
        allow.send(()).expect("the writer lives");
        lines.flush();
        assert_eq!(seen.try_recv().as_deref(), Ok(&b"three\n"[..]), "written when flush returns");
    }

    #[test]
    fn a_reader_that_is_stuck_costs_lines_and_is_told_how_many() {
        let (lines, allow, seen) = gate();
        lines.push(b"first\n", true);
        // the writer has taken the first line and is stuck with it
        while !lines.0.lock().is_writing {
            std::thread::yield_now();
        }
        let half = vec![b'x'; BYTES_MAX / 2];
        for _ in 0..5 {
            lines.push(&half, false);
        }
        let dropped = lines.samples().into_iter().find(|sample| sample.name == "log_lines_dropped").map(|s| s.value);
        assert_eq!(dropped, Some(crate::telemetry::metrics::SampleValue::Counter(3)));
        for _ in 0..2 {
            allow.send(()).expect("the writer lives");
        }
        assert_eq!(text(&seen), "first\n");
        let told = "hearth: 3 log lines were dropped here\n";
        let rest = text(&seen);
        assert!(rest.ends_with(told), "{}", &rest[BYTES_MAX..]);
        assert_eq!(rest.len(), BYTES_MAX + told.len(), "what fitted is there");
    }
}
