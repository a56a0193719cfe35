//! Conversions there and back, and hostile files: each net is tried by itself.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::child::Conversion;
use super::*;

const MIB: u64 = 1 << 20;
const WRITTEN: [DiskFormat; 6] =
    [DiskFormat::Raw, DiskFormat::Qcow2, DiskFormat::Vmdk, DiskFormat::Vdi, DiskFormat::Vhd, DiskFormat::Vhdx];

/// A directory for the files of one test.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the machine's own `qemu-img`, unconfined, makes; some of it is malformed on purpose.
    fn qemu_img(&self, arguments: &[&str]) {
        let output = Command::new("qemu-img").args(arguments).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn file(&self, name: &str) -> File {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.path(name)).unwrap()
    }

    /// A disk of `mib` MiB with something at both ends and in the middle, and holes between.
    fn disk(&self, name: &str, mib: u64) -> File {
        let file = self.file(name);
        file.set_len(mib * MIB).unwrap();
        for (at, word) in [(0, "begin"), (mib / 2 * MIB + 12_345, "middle"), (mib * MIB - 3, "end")] {
            file.write_all_at(word.as_bytes(), at).unwrap();
        }
        file
    }
}

#[track_caller]
fn rejected(file: &File, declared: DiskFormat, word: &str) {
    let Err(Rejected(why)) = inspect(file, declared) else { panic!("it was taken as {declared:?}") };
    assert!(why.contains(word), "{why:?} does not speak of {word:?}");
}

fn patch(file: &File, at: u64, bytes: &[u8]) {
    file.write_all_at(bytes, at).unwrap();
}

/// Runs `qemu-img` on a file that nothing has looked at.
async fn unseen(converter: &Converter, source: (&File, DiskFormat), destination: &File) -> Result<(), ConvertError> {
    let size = 4 * MIB;
    destination.set_len(size).unwrap();
    let conversion = Conversion {
        program: &converter.program,
        limits: &converter.limits,
        source,
        destination: (destination, DiskFormat::Raw),
        in_place: true,
        bytes_max: size,
    };
    conversion.run().await
}

#[tokio::test]
async fn every_format_there_and_back() {
    let (bench, converter) = (Bench::new(), Converter::default());
    let disk = bench.disk("disk", 32);
    let contents = fs::read(bench.path("disk")).unwrap();
    for format in WRITTEN {
        let (image, back) = (bench.file(format.as_str()), bench.file("back"));
        converter.from_raw(&disk, format, &image).await.unwrap_or_else(|error| panic!("{format:?}: {error}"));
        let found = inspect(&image, format).unwrap_or_else(|error| panic!("{format:?}: {error}"));
        back.write_all_at(b"what was there before", 50 * MIB).unwrap();
        let made = converter.to_raw(&image, format, &back, 64 * MIB).await;
        assert_eq!(made, Ok(found), "{format:?}");
        let after = fs::read(bench.path("back")).unwrap();
        assert_eq!(after.len() as u64, found.virtual_size, "{format:?}");
        assert!(after.starts_with(&contents), "{format:?}: the disk is as before");
        assert!(after[contents.len()..].iter().all(|byte| *byte == 0), "{format:?}: only a VHD's geometry is longer");
        assert!(back.metadata().unwrap().blocks() * 512 < 4 * MIB, "{format:?}: the holes are kept");
    }
}

#[tokio::test]
async fn other_kinds_of_the_formats_are_read_too() {
    let (bench, converter) = (Bench::new(), Converter::default());
    bench.disk("disk", 8);
    let contents = fs::read(bench.path("disk")).unwrap();
    let kinds: [(DiskFormat, &[&str]); 6] = [
        (DiskFormat::Vmdk, &["-O", "vmdk", "-o", "subformat=streamOptimized"]),
        (DiskFormat::Vhd, &["-O", "vpc", "-o", "subformat=fixed,force_size=on"]),
        (DiskFormat::Vdi, &["-O", "vdi", "-o", "static=on"]),
        (DiskFormat::Vhdx, &["-O", "vhdx", "-o", "subformat=fixed"]),
        (DiskFormat::Qcow2, &["-O", "qcow2", "-c", "-o", "compat=0.10"]),
        (DiskFormat::Qcow2, &["-O", "qcow2", "-c", "-o", "extended_l2=on,compression_type=zstd"]),
    ];
    for (index, (format, options)) in kinds.into_iter().enumerate() {
        let name = format!("image{index}");
        bench.qemu_img(&[&["convert", "-f", "raw"], options, &["disk", &name]].concat());
        let back = bench.file("back");
        let made = converter.to_raw(&bench.file(&name), format, &back, 16 * MIB).await;
        let made = made.unwrap_or_else(|error| panic!("{options:?}: {error}"));
        assert_eq!((made.format, made.virtual_size), (format, 8 * MIB), "{options:?}");
        assert!(fs::read(bench.path("back")).unwrap() == contents, "{options:?}");
    }
}

#[tokio::test]
async fn a_disk_of_half_a_sector_fills_it_with_zeroes() {
    let (bench, converter) = (Bench::new(), Converter::default());
    let (image, back) = (bench.file("image"), bench.file("back"));
    (&image).write_all(&[7; 700]).unwrap();
    let made = converter.to_raw(&image, DiskFormat::Raw, &back, MIB).await.unwrap();
    assert_eq!(made.virtual_size, 1024);
    assert_eq!(fs::read(bench.path("back")).unwrap(), [vec![7; 700], vec![0; 324]].concat());
    let made = converter.to_raw(&bench.file("empty"), DiskFormat::Raw, &back, MIB).await.unwrap();
    assert_eq!((made.virtual_size, back.metadata().unwrap().len()), (0, 0));
}

#[tokio::test]
async fn a_bomb_is_refused_before_anything_is_written() {
    let (bench, converter) = (Bench::new(), Converter::default());
    bench.qemu_img(&["create", "-f", "qcow2", "bomb", "1T"]);
    let back = bench.file("back");
    back.write_all_at(b"still here", 0).unwrap();
    let made = converter.to_raw(&bench.file("bomb"), DiskFormat::Qcow2, &back, 10 * MIB).await;
    assert_eq!(made, Err(ConvertError::TooLarge { virtual_size: 1 << 40, bytes_max: 10 * MIB }));
    assert_eq!(fs::read(bench.path("back")).unwrap(), b"still here");
}

#[test]
fn a_file_is_what_its_owner_declares_or_it_is_refused() {
    let bench = Bench::new();
    bench.disk("disk", 2);
    for format in WRITTEN {
        bench.qemu_img(&["convert", "-f", "raw", "-O", format.driver(), "disk", format.as_str()]);
        let file = bench.file(format.as_str());
        assert!(inspect(&file, format).is_ok(), "{format:?}");
        for declared in DiskFormat::ALL.into_iter().filter(|declared| *declared != format) {
            let Err(Rejected(why)) = inspect(&file, declared) else {
                panic!("{format:?} was taken as {declared:?}");
            };
            assert!(!why.is_empty());
        }
    }
    bench.qemu_img(&["convert", "-f", "raw", "-O", "parallels", "disk", "ploop"]);
    rejected(&bench.file("ploop"), DiskFormat::Raw, "its format is ploop");
    rejected(&bench.file("ploop"), DiskFormat::Ploop, "not read here");
    let iso = bench.disk("iso", 1);
    rejected(&iso, DiskFormat::Iso, "none that is known");
    patch(&iso, 0x8001, b"CD001");
    assert_eq!(inspect(&iso, DiskFormat::Iso).map(|found| found.virtual_size), Ok(MIB));
    for beginning in ["QED\0", "COWD", "# Disk DescriptorFile\nversion=1\n", "# a comment\n\n \r\nversion=2\r\n"] {
        let file = bench.disk("foreign", 1);
        patch(&file, 0, beginning.as_bytes());
        rejected(&file, DiskFormat::Raw, "declared as raw");
        rejected(&file, DiskFormat::Vmdk, "declared as vmdk");
    }
}

/// A file of the machine that no image may show; its first words.
const SECRET: &str = "/etc/passwd";

fn shows_secret(path: &Path) -> bool {
    fs::read(path).unwrap().windows(6).any(|window| window == b"root:x")
}

#[tokio::test]
async fn a_backing_file_is_refused_by_each_net() {
    let (bench, converter) = (Bench::new(), Converter::default());
    assert!(shows_secret(Path::new(SECRET)), "the test can fail");
    bench.qemu_img(&["create", "-f", "qcow2", "-b", SECRET, "-F", "raw", "-u", "image", "1M"]);
    let file = bench.file("image");
    rejected(&file, DiskFormat::Qcow2, "backing file");
    // what a reader that believes it would get
    bench.qemu_img(&["convert", "-f", "qcow2", "-O", "raw", "image", "naive"]);
    assert!(shows_secret(&bench.path("naive")), "the test can fail");
    // told of no backing file, and confined
    let back = bench.file("back");
    let _ = unseen(&converter, (&file, DiskFormat::Qcow2), &back).await;
    assert!(!shows_secret(&bench.path("back")));
    // the second version of the format has no features to look at
    bench.qemu_img(&["create", "-f", "qcow2", "-o", "compat=0.10", "-b", SECRET, "-F", "raw", "-u", "old", "1M"]);
    rejected(&bench.file("old"), DiskFormat::Qcow2, "backing file");
}

#[tokio::test]
async fn a_data_file_is_refused_by_each_net() {
    let (bench, converter) = (Bench::new(), Converter::default());
    bench.qemu_img(&["create", "-f", "qcow2", "-o", "data_file=data,data_file_raw=on", "image", "1M"]);
    let data = bench.path("data");
    fs::write(&data, [b"root:x".as_slice(), &vec![b'.'; 1 << 20]].concat()).unwrap();
    let file = bench.file("image");
    rejected(&file, DiskFormat::Qcow2, "another file");
    // the naive reader finds the data beside the image; the confined one may not open what it names
    bench.qemu_img(&["convert", "-f", "qcow2", "-O", "raw", "image", "naive"]);
    assert!(shows_secret(&bench.path("naive")), "the test can fail");
    let named = fs::read(bench.path("image")).unwrap();
    let at = named.windows(4).rposition(|window| window == b"data").unwrap() as u64;
    let absolute = data.to_str().unwrap();
    patch(&file, at - 4, &u32::try_from(absolute.len()).unwrap().to_be_bytes());
    patch(&file, at, absolute.as_bytes());
    let back = bench.file("back");
    let made = unseen(&converter, (&file, DiskFormat::Qcow2), &back).await;
    assert!(made.is_err(), "Landlock does not let it open the file");
    assert!(!shows_secret(&bench.path("back")));
    // without the feature's bit the extension alone is refused too
    patch(&file, 72, &0_u64.to_be_bytes());
    rejected(&file, DiskFormat::Qcow2, "another file");
}

#[tokio::test]
async fn a_vmdk_with_extents_elsewhere_is_refused_by_each_net() {
    let (bench, converter) = (Bench::new(), Converter::default());
    fs::write(bench.path("secret"), [b"root:x".as_slice(), &vec![b'.'; 1 << 20]].concat()).unwrap();
    let secret = bench.path("secret");
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n\
         RW 2048 FLAT \"{}\" 0\n\nddb.adapterType = \"ide\"\n",
        secret.display()
    );
    fs::write(bench.path("plain"), &text).unwrap();
    let plain = bench.file("plain");
    rejected(&plain, DiskFormat::Vmdk, "descriptor");
    bench.qemu_img(&["convert", "-f", "vmdk", "-O", "raw", "plain", "naive"]);
    assert!(shows_secret(&bench.path("naive")), "the test can fail");
    let back = bench.file("back");
    assert!(unseen(&converter, (&plain, DiskFormat::Vmdk), &back).await.is_err());
    assert!(!shows_secret(&bench.path("back")));

    // a sparse header without a capacity stands for the descriptor behind it
    bench.disk("disk", 1);
    bench.qemu_img(&["convert", "-f", "raw", "-O", "vmdk", "disk", "image"]);
    let file = bench.file("image");
    let good = fs::read(bench.path("image")).unwrap();
    patch(&file, 12, &0_u64.to_le_bytes());
    patch(&file, 512, &[text.as_bytes(), &[0]].concat());
    rejected(&file, DiskFormat::Vmdk, "descriptor of other files");
    assert!(unseen(&converter, (&file, DiskFormat::Vmdk), &back).await.is_err());
    assert!(!shows_secret(&bench.path("back")));

    // each lie in the descriptor of a file that is otherwise sound
    let end = 512 + good[512..].iter().position(|byte| *byte == 0).unwrap();
    let descriptor = String::from_utf8(good[512..end].to_vec()).unwrap();
    let lies: [(&str, &str, &str); 7] = [
        ("parentCID=ffffffff", "parentCID=12345678", "parent"),
        ("version=1", "parentFileNameHint=\"/etc/passwd\"\nversion=1", "parent"),
        ("version=1", "version=1\nRW 2048 FLAT \"/etc/passwd\" 0", "extents"),
        ("SPARSE", "FLAT", "extents"),
        ("RW 2048", "RW 4096", "extents"),
        ("\"monolithicSparse\"", "\"twoGbMaxExtentSparse\"", "kinds"),
        ("version=1", "version=1\ncreateType=\"streamOptimized\"", "contradicts"),
    ];
    for (from, to, word) in lies {
        assert!(descriptor.contains(from), "{from:?} is in\n{descriptor}");
        patch(&file, 0, &good[..end]);
        assert!(inspect(&file, DiskFormat::Vmdk).is_ok(), "sound before {to:?}");
        patch(&file, 512, &[descriptor.replacen(from, to, 1).as_bytes(), &[0]].concat());
        rejected(&file, DiskFormat::Vmdk, word);
        patch(&file, 512, &vec![0; 20 * 512]);
    }
    // a hint where only qemu-img looks for it
    patch(&file, 0, &good[..end]);
    patch(&file, 36, &1_u64.to_le_bytes());
    patch(&file, 15 * 512, b"parentFileNameHint=\"/etc/passwd\"\n");
    rejected(&file, DiskFormat::Vmdk, "parent");
    patch(&file, 0, &good);
    patch(&file, 28, &30_u64.to_le_bytes());
    rejected(&file, DiskFormat::Vmdk, "not where it must be");
}

#[test]
fn parents_of_the_other_formats_are_refused() {
    let bench = Bench::new();
    bench.disk("disk", 2);
    for format in [DiskFormat::Vhd, DiskFormat::Vhdx, DiskFormat::Vdi] {
        bench.qemu_img(&["convert", "-f", "raw", "-O", format.driver(), "disk", format.as_str()]);
    }
    let vhd = bench.file("vhd");
    patch(&vhd, 60, &4_u32.to_be_bytes());
    rejected(&vhd, DiskFormat::Vhd, "parent");

    let bytes = fs::read(bench.path("vhdx")).unwrap();
    let id = uuid::Uuid::try_parse("caa16737-fa36-4d43-b3b6-33f0aa44e76b").unwrap().to_bytes_le();
    let metadata = bytes.windows(8).position(|window| window == b"metadata").unwrap();
    let entry = bytes.windows(16).position(|window| window == id).unwrap();
    let offset = u32::from_le_bytes(bytes[entry + 16..entry + 20].try_into().unwrap());
    let vhdx = bench.file("vhdx");
    patch(&vhdx, (metadata as u64) + u64::from(offset) + 4, &2_u32.to_le_bytes());
    rejected(&vhdx, DiskFormat::Vhdx, "parent");
    // the same parameters twice: which of them a reader takes is its own affair
    patch(&vhdx, 0, &bytes);
    patch(&vhdx, entry as u64 + 32, &id);
    rejected(&vhdx, DiskFormat::Vhdx, "contradicts");

    let vdi = bench.file("vdi");
    patch(&vdi, 0x1b8, &[1]);
    rejected(&vdi, DiskFormat::Vdi, "parent");
    patch(&vdi, 0x1b8, &[0]);
    patch(&vdi, 0x4c, &4_u32.to_le_bytes());
    rejected(&vdi, DiskFormat::Vdi, "parent");
}

#[test]
fn encryption_corruption_and_unknown_features_are_refused() {
    let bench = Bench::new();
    bench.disk("disk", 2);
    bench.qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "disk", "image"]);
    let good = fs::read(bench.path("image")).unwrap();
    let cases: [(u64, &[u8], &str); 7] = [
        (32, &2_u32.to_be_bytes(), "encrypted"),
        (72, &2_u64.to_be_bytes(), "corrupt"),
        (72, &(1_u64 << 9).to_be_bytes(), "unknown features"),
        (4, &4_u32.to_be_bytes(), "unknown version"),
        (20, &40_u32.to_be_bytes(), "impossible clusters"),
        (100, &u32::MAX.to_be_bytes(), "impossible header"),
        (112, &0xe279_2aca_u32.to_be_bytes(), "backing file"),
    ];
    for (at, bytes, word) in cases {
        let file = bench.file("image");
        patch(&file, 0, &good);
        assert!(inspect(&file, DiskFormat::Qcow2).is_ok(), "sound before {word}");
        patch(&file, at, bytes);
        rejected(&file, DiskFormat::Qcow2, word);
    }
}

#[test]
fn what_is_cut_short_is_refused() {
    let bench = Bench::new();
    bench.disk("disk", 4);
    for format in WRITTEN.into_iter().filter(|format| *format != DiskFormat::Raw) {
        bench.qemu_img(&["convert", "-f", "raw", "-O", format.driver(), "disk", format.as_str()]);
        let file = bench.file(format.as_str());
        let length = file.metadata().unwrap().len();
        // down to nothing; the last sector of some formats is padding
        for part in [length * 3 / 4, length / 2, length / 4, 4096, 600, 512, 100, 3] {
            file.set_len(part).unwrap();
            assert!(inspect(&file, format).is_err(), "{format:?} cut to {part} of {length} bytes");
        }
    }
}

#[test]
fn tables_that_are_too_large_or_used_twice_are_refused() {
    let bench = Bench::new();
    bench.disk("disk", 4);
    bench.qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512", "disk", "image"]);
    let (file, good) = (bench.file("image"), fs::read(bench.path("image")).unwrap());
    let l1 = u64::from_be_bytes(good[40..48].try_into().unwrap());
    patch(&file, 36, &u32::MAX.to_be_bytes());
    rejected(&file, DiskFormat::Qcow2, "cut short");
    file.set_len(1 << 36).unwrap();
    rejected(&file, DiskFormat::Qcow2, "larger than any sane");
    file.set_len(good.len() as u64).unwrap();
    patch(&file, 0, &good);
    patch(&file, 56, &u32::MAX.to_be_bytes());
    rejected(&file, DiskFormat::Qcow2, "larger than any sane");
    patch(&file, 0, &good);
    patch(&file, 24, &(1_u64 << 50).to_be_bytes());
    rejected(&file, DiskFormat::Qcow2, "too short for the disk");
    // every entry of a long L1 table names the same L2 table
    patch(&file, 0, &good);
    let entries = 4096_u32;
    let (table, first) = (good.len() as u64, &good[usize::try_from(l1).unwrap()..][..8]);
    patch(&file, table, &first.repeat(entries as usize));
    patch(&file, 36, &entries.to_be_bytes());
    patch(&file, 40, &table.to_be_bytes());
    rejected(&file, DiskFormat::Qcow2, "one table for several parts");
}

/// A stand-in for a `qemu-img` that a hostile file keeps busy, or leads astray.
fn stand_in(bench: &Bench, script: &str) -> Converter {
    use std::os::unix::fs::PermissionsExt as _;
    let program = bench.path("qemu-img");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let limits = ConvertLimits { deadline: Duration::from_secs(1), ..ConvertLimits::default() };
    Converter { program, limits }
}

#[tokio::test]
async fn whoever_hangs_is_killed_with_its_deadline() {
    let bench = Bench::new();
    let (disk, back) = (bench.disk("disk", 1), bench.file("back"));
    let hanging = stand_in(&bench, "echo $$ >&2; exec sleep 600");
    let made = hanging.to_raw(&disk, DiskFormat::Raw, &back, MIB).await;
    assert_eq!(made, Err(ConvertError::Deadline(Duration::from_secs(1))));
    let spinning = stand_in(&bench, "while :; do :; done");
    let limits = ConvertLimits { deadline: Duration::from_secs(60), ..ConvertLimits::default() };
    let spinning = Converter { limits, ..spinning };
    // dropped in the middle, it is killed too
    let running = spinning.to_raw(&disk, DiskFormat::Raw, &back, MIB);
    assert!(tokio::time::timeout(Duration::from_millis(300), running).await.is_err(), "it spins");
    let program = spinning.program.display().to_string();
    wait_until_gone(&program).await;
}

/// Looks until no process has the program in its command line.
async fn wait_until_gone(program: &str) {
    let is_there = || {
        fs::read_dir("/proc").unwrap().any(|entry| {
            let line = entry.and_then(|entry| fs::read(entry.path().join("cmdline")));
            line.is_ok_and(|line| String::from_utf8_lossy(&line).contains(program))
        })
    };
    let begun = tokio::time::Instant::now();
    while is_there() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{program} goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_child_is_confined() {
    let bench = Bench::new();
    let (disk, back) = (bench.disk("disk", 1), bench.file("back"));
    // each of these must fail
    let attempts = [
        format!("cat {SECRET}"),
        format!("cat {}", bench.path("elsewhere/secret").display()),
        "echo x > /tmp/hearth-must-not-exist".to_owned(),
        "yes | head -c 2000000 > /proc/self/fd/$out".to_owned(),
    ];
    fs::create_dir(bench.path("elsewhere")).unwrap();
    fs::write(bench.path("elsewhere/secret"), "root:x").unwrap();
    let program_dir = tempfile::tempdir().unwrap();
    for attempt in attempts {
        let script = format!("for word; do :; done; out=${{word##*/}}; if {attempt}; then exit 0; fi; exit 1");
        let mut converter = stand_in(&bench, &script);
        let moved = program_dir.path().join("qemu-img");
        fs::rename(&converter.program, &moved).unwrap();
        converter.program = moved;
        let made = converter.to_raw(&disk, DiskFormat::Raw, &back, MIB).await;
        assert!(matches!(made, Err(ConvertError::Rejected(_))), "{attempt}: {made:?}");
    }
    assert!(!Path::new("/tmp/hearth-must-not-exist").exists());
    assert!(!shows_secret(&bench.path("back")));
    // the same script does well what it may do
    let mut converter = stand_in(&bench, "for word; do :; done; echo y > /proc/self/fd/${word##*/}");
    let moved = program_dir.path().join("qemu-img");
    fs::rename(&converter.program, &moved).unwrap();
    converter.program = moved;
    assert!(converter.to_raw(&disk, DiskFormat::Raw, &back, MIB).await.is_ok());
    assert!(fs::read(bench.path("back")).unwrap().starts_with(b"y\n"));
}

#[tokio::test]
async fn without_qemu_img_it_says_so() {
    let bench = Bench::new();
    let converter = Converter { program: "/nowhere/qemu-img".into(), ..Converter::default() };
    let made = converter.to_raw(&bench.disk("disk", 1), DiskFormat::Raw, &bench.file("back"), MIB).await;
    assert!(matches!(made, Err(ConvertError::Unavailable(_))), "{made:?}");
}
