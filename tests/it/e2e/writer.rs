//! A loop in a guest that writes numbered records with a checksum, each flushed to the disk before the next, and the check
//! that every record whose flush succeeded is in the volume's file, or in a snapshot's.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::guest::Guest;
use super::hearth::wait_until;

/// Bytes of a record; record `n` lies at `n` times this.
const RECORD: u64 = 512;

/// Multiplier and modulus of the checksum: what a shell can compute.
const FACTOR: u64 = 2_654_435_761;
const MODULUS: u64 = 1 << 32;

/// The loop. Its state lives in the guest: the number of the last record that is safe in `/safe`, failed writes in `/lost`.
pub struct Writer;

impl Writer {
    /// Starts writing to `/dev/vda`.
    pub async fn start(guest: &mut Guest) {
        let line = format!(
            "rm -f /safe /lost /stop /stopped; ( i=0; while [ ! -e /stop ]; do i=$((i+1)); \
             if echo \"R $i $((i*{FACTOR}%{MODULUS}))\" | dd of=/dev/vda bs={RECORD} seek=$i conv=sync,fsync,notrunc; \
             then echo $i >/safe.new; mv /safe.new /safe; else echo $i >>/lost; fi; done; : >/stopped ) \
             >/dev/null 2>&1 </dev/null &"
        );
        guest.run(&line).await;
        Self::advance(guest).await;
    }

    /// The last record whose flush has succeeded. Fails the test if any write has failed.
    pub async fn safe(guest: &mut Guest) -> u64 {
        assert!(guest.run("[ ! -e /lost ]").await.1, "a write of the guest failed");
        let (text, _) = guest.run("cat /safe 2>/dev/null || echo 0").await;
        text.parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
    }

    /// Waits until a record is safe that was begun after this call; its number.
    pub async fn advance(guest: &mut Guest) -> u64 {
        let before = Self::safe(guest).await;
        let mut now = before;
        wait_until("the guest goes on writing", async || {
            now = Self::safe(guest).await;
            now > before + 1
        })
        .await;
        now
    }

    /// Ends the loop after the record that it is about; how many are safe.
    pub async fn stop(guest: &mut Guest) -> u64 {
        guest.run(": >/stop").await;
        guest.until("[ -e /stopped ]").await;
        Self::safe(guest).await
    }

    /// Holds when records 1 to `safe` are in the file.
    pub fn check(file: &Path, safe: u64) {
        let held = Self::held(file, safe);
        assert_eq!(held, safe, "record {} of {safe} is not what was flushed", held + 1);
    }

    /// How many records the file holds from the first on, of `all` that may be there. Fails the test when there is anything
    /// after the first that is missing: then the file is not what the disk was at one instant.
    pub fn check_prefix(file: &Path, all: u64) -> u64 {
        let held = Self::held(file, all);
        let mut rest = vec![0; usize::try_from((all - held) * RECORD).expect("small")];
        let opened = std::fs::File::open(file).expect("the file");
        opened.read_exact_at(&mut rest, (held + 1) * RECORD).expect("within the file");
        assert!(
            rest.iter().all(|byte| *byte == 0),
            "there is something after record {held}, which is the last before a gap"
        );
        held
    }

    fn held(file: &Path, all: u64) -> u64 {
        let file = std::fs::File::open(file).expect("the file");
        let mut record = [0; RECORD as usize];
        let is_whole = |number: &u64| {
            file.read_exact_at(&mut record, number * RECORD).expect("within the file");
            let line = format!("R {number} {}\n", number * FACTOR % MODULUS);
            let (head, padding) = record.split_at(line.len());
            head == line.as_bytes() && padding.iter().all(|byte| *byte == 0)
        };
        (1..=all).take_while(is_whole).count() as u64
    }
}
