//! Databases with many volumes, made once by `hearth fill` and kept below `target/` for later runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::options::Options;
use super::site::{HEARTH, Site, SiteOptions};

/// How a filled database is served.
pub fn settings() -> SiteOptions {
    SiteOptions { elsewhere: true, ..SiteOptions::default() }
}

/// Of the volumes in a filled database, percent.
const WITH_ATTACHMENT: &str = "30";

/// A site whose records are a copy of the database with `count` volumes; an error says why there is none.
pub fn site(options: &Options, count: usize) -> Result<Site, String> {
    let kept = options.scratch.join(format!("filled-{count}-{}", version()));
    if !kept.join("done").exists() {
        fill(options, count, &kept)?;
    }
    let site = Site::new(&options.scratch, &settings());
    let copied = Command::new("cp")
        .args(["-r", "--reflink=auto"])
        .arg(kept.join("state"))
        .arg(site.state())
        .status()
        .map_err(|error| format!("cp: {error}"))?;
    if copied.success() { Ok(site) } else { Err(format!("cp: {copied}")) }
}

fn fill(options: &Options, count: usize, kept: &Path) -> Result<(), String> {
    eprintln!("filling a database with {count} volumes");
    let site = Site::new(&options.scratch, &settings());
    let output = Command::new(HEARTH)
        .args(["fill", &count.to_string(), "--attachments", WITH_ATTACHMENT, "--projects", "1", "--config"])
        .arg(site.settings())
        .output()
        .map_err(|error| format!("hearth fill: {error}"))?;
    if !output.status.success() {
        return Err(format!("hearth fill: {}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("?")));
    }
    std::fs::create_dir_all(kept)
        .and_then(|()| std::fs::rename(site.state(), kept.join("state")))
        .and_then(|()| std::fs::write(kept.join("done"), ""))
        .map_err(|error| format!("{}: {error}", kept.display()))
}

/// The newest migration: an older database would be migrated inside of a measurement.
fn version() -> String {
    let migrations = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite"));
    let names = std::fs::read_dir(migrations).expect("the migrations").flatten();
    names.map(|entry| entry.file_name().to_string_lossy().into_owned()).max().expect("a migration")
}
