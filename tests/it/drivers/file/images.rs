//! Volumes from images and images of volumes, with the embedded store and `qemu-img`. What each hostile image is refused for is
//! tested beside the inspection; here, that nothing of it stays.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hearth::domain::backend::{Call, CauseKind, Outcome, Request};
use hearth::domain::ids::{ImageId, ProjectId, VolumeId};
use hearth::domain::image::ToImage;
use hearth::domain::metadata::Metadata;
use hearth::drivers::Backend;
use hearth::images::{
    Converter, DirectoryStore, Image, ImageCaller, ImageError, ImageService, ImageStatus, NewImage, StoreLimits,
};
use hearth::runtime::{Clock, Randomness};
use tempfile::TempDir;
use tokio::sync::watch;
use uuid::Uuid;

use super::clone::temporaries;
use super::{GIB, NbdClient, Pool, key, sized, until, within};

const MIB: u64 = 1 << 20;

fn project() -> ProjectId {
    ProjectId::from("p")
}

fn new_volume() -> VolumeId {
    VolumeId(Uuid::new_v4())
}

/// The store, whose data comes and goes only while it is open.
struct Gate {
    store: Arc<DirectoryStore>,
    is_open: watch::Sender<bool>,
}

impl Gate {
    async fn passed(&self) {
        let mut is_open = self.is_open.subscribe();
        is_open.wait_for(|is_open| *is_open).await.expect("the gate stands");
    }
}

impl ImageService for Gate {
    fn show(self: Arc<Self>, caller: ImageCaller, id: ImageId) -> BoxFuture<'static, Result<Image, ImageError>> {
        self.store.clone().show(caller, id)
    }
    fn named(self: Arc<Self>, caller: ImageCaller, name: String) -> BoxFuture<'static, Result<Vec<Image>, ImageError>> {
        self.store.clone().named(caller, name)
    }
    fn create(self: Arc<Self>, caller: ImageCaller, new: NewImage) -> BoxFuture<'static, Result<Image, ImageError>> {
        self.store.clone().create(caller, new)
    }
    fn fetch(
        self: Arc<Self>,
        caller: ImageCaller,
        id: ImageId,
        scratch: PathBuf,
        bytes_max: u64,
    ) -> BoxFuture<'static, Result<File, ImageError>> {
        async move {
            self.passed().await;
            self.store.clone().fetch(caller, id, scratch, bytes_max).await
        }
        .boxed()
    }
    fn upload(
        self: Arc<Self>,
        caller: ImageCaller,
        id: ImageId,
        from: File,
    ) -> BoxFuture<'static, Result<Image, ImageError>> {
        async move {
            self.passed().await;
            self.store.clone().upload(caller, id, from).await
        }
        .boxed()
    }
    fn delete(self: Arc<Self>, caller: ImageCaller, id: ImageId) -> BoxFuture<'static, Result<(), ImageError>> {
        self.store.clone().delete(caller, id)
    }
}

/// A pool, its images, and a directory for files of the test.
struct Bench {
    pool: Pool,
    gate: Arc<Gate>,
    dir: TempDir,
}

impl Bench {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let limits = StoreLimits { image_bytes_max: 8 * GIB, images_max: 100, free_bytes_min: 0 };
        let store = DirectoryStore::open(dir.path().join("images"), limits, Clock::System, Randomness::from_os());
        let gate = Arc::new(Gate { store: store.expect("opened"), is_open: watch::Sender::new(true) });
        let bench = Self { pool: Pool::start().await, gate, dir };
        bench.use_images();
        bench
    }

    fn use_images(&self) {
        self.pool.backend.use_images(self.gate.clone(), Converter::default());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn qemu_img(&self, arguments: &[&str]) {
        let output = Command::new("qemu-img").args(arguments).current_dir(self.dir.path()).output().expect("run");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A disk of 24 MiB with data in it, none of it zero, and holes.
    fn disk(&self, name: &str) -> Vec<u8> {
        let file = File::create(self.path(name)).expect("made");
        file.set_len(24 * MIB).expect("sized");
        let data: Vec<u8> = (0..MIB).map(|at| u8::try_from(at % 251).expect("small") + 1).collect();
        for at in [0, 9 * MIB + 4096, 23 * MIB] {
            file.write_all_at(&data, at).expect("written");
        }
        fs::read(self.path(name)).expect("read")
    }

    /// An active image with the bytes of a file.
    async fn image(&self, name: &str, disk_format: &str) -> ImageId {
        let service: Arc<dyn ImageService> = self.gate.store.clone();
        let caller = ImageCaller::service(project());
        let new = NewImage {
            name: Some(name.to_owned()),
            disk_format: Some(disk_format.to_owned()),
            container_format: Some("bare".to_owned()),
            ..NewImage::default()
        };
        let made = service.clone().create(caller.clone(), new).await.expect("made");
        let data = File::open(self.path(name)).expect("there");
        service.upload(caller, made.id, data).await.expect("uploaded").id
    }

    /// One whose data the store would have refused when it came: an image service of somebody else's may have it.
    async fn hostile(&self, name: &str, disk_format: &str) -> ImageId {
        fs::write(self.path("sound"), [0; 512]).expect("written");
        let id = self.image("sound", "raw").await;
        let declared = disk_format.to_owned();
        let bytes = fs::metadata(self.path(name)).expect("there").len();
        let changed = self.gate.store.change(ImageCaller::service(project()), id, move |image| {
            image.disk_format = Some(declared);
            image.size = Some(bytes);
            Ok(())
        });
        changed.await.expect("changed");
        let stored = find(&self.path("images"), &id.to_string(), 512);
        fs::copy(self.path(name), stored).expect("copied");
        id
    }

    async fn show(&self, id: ImageId) -> Option<Image> {
        self.gate.store.clone().show(ImageCaller::service(project()), id).await.ok()
    }

    async fn data(&self, id: ImageId) -> Vec<u8> {
        let caller = ImageCaller::service(project());
        let fetched = self.gate.store.clone().fetch(caller, id, self.dir.path().to_owned(), u64::MAX);
        let mut bytes = Vec::new();
        fetched.await.expect("active").read_to_end(&mut bytes).expect("read");
        bytes
    }

    async fn call(&self, volume: VolumeId, request: Request) -> Outcome {
        self.pool.call(volume, request).await
    }

    /// Of a whole volume, its file's bytes.
    fn contents(&self, volume: VolumeId) -> Vec<u8> {
        fs::read(self.pool.file(volume)).expect("there")
    }

    /// Nothing is in the pool but these volumes.
    fn assert_only(&self, volumes: &[VolumeId]) {
        let names = fs::read_dir(&self.pool.options.path)
            .expect("there")
            .map(|entry| entry.expect("readable").file_name().into_string().expect("plain"));
        let mut found = names.filter(|name| !name.starts_with('.')).collect::<Vec<_>>();
        let mut expected = volumes.iter().map(|volume| format!("{volume}.raw")).collect::<Vec<_>>();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}

/// Without a look at each byte: that takes a test's build long.
fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    bytes.chunks(ZEROS.len()).all(|piece| *piece == ZEROS[..piece.len()])
}

/// The file of the store that holds the data of an image.
fn find(dir: &Path, id: &str, bytes: u64) -> PathBuf {
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).expect("there") {
            let path = entry.expect("readable").path();
            let is_meant = path.file_name().is_some_and(|name| name.to_string_lossy().contains(id));
            match fs::metadata(&path).expect("there") {
                found if found.is_dir() => left.push(path),
                found if is_meant && found.len() == bytes => return path,
                _ => {}
            }
        }
    }
    panic!("no data of {id}")
}

fn create(image_id: ImageId) -> Request {
    Request::CreateFromImage { image_id, project_id: project(), size_gib: 1 }
}

fn reimage(image_id: ImageId) -> Request {
    Request::Reimage { image_id, project_id: project() }
}

fn to_image(disk_format: &str) -> Box<ToImage> {
    Box::new(ToImage {
        image_id: ImageId(Uuid::new_v4()),
        name: "copy".to_owned(),
        project_id: project(),
        disk_format: disk_format.to_owned(),
        container_format: "bare".to_owned(),
        visibility: Some("private".to_owned()),
        is_protected: false,
        properties: Metadata::default(),
    })
}

#[track_caller]
fn refused(outcome: &Outcome, words: &str) {
    match outcome {
        Outcome::Refused { cause } if cause.kind == CauseKind::Image => {
            assert!(cause.text.contains(words), "{} does not speak of {words}", cause.text);
            assert!(!cause.text.contains('/'), "not for an owner's eyes: {}", cause.text);
        }
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_volume_from_an_image_has_its_bytes_its_holes_and_its_own_size() {
    let bench = Bench::start().await;
    let disk = bench.disk("disk");
    bench.qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "-c", "disk", "packed"]);
    for (name, format) in [("disk", "raw"), ("packed", "qcow2")] {
        let (image, volume) = (bench.image(name, format).await, new_volume());
        let call = Call { key: key(volume), request: create(image) };
        assert_eq!(within(bench.pool.backend.clone().call(call.clone())).await, sized(1));
        let contents = bench.contents(volume);
        assert!(contents.len() as u64 == GIB && contents.starts_with(&disk), "{format}");
        assert!(is_zero(&contents[disk.len()..]), "{format}");
        let blocks = fs::metadata(bench.pool.file(volume)).expect("there").blocks();
        assert!(blocks * 512 < 8 * MIB, "{format}: the holes are kept");
        // The same call again is the same volume; another operation's is not.
        let file = File::options().write(true).open(bench.pool.file(volume)).expect("there");
        file.write_all_at(b"written since", 0).expect("written");
        assert_eq!(within(bench.pool.backend.clone().call(call)).await, sized(1));
        assert!(bench.contents(volume).starts_with(b"written since"));
        assert!(matches!(bench.call(volume, create(image)).await, Outcome::Refused { .. }));
    }
}

#[tokio::test]
async fn a_repetition_after_a_restart_finds_its_own_volume() {
    let mut bench = Bench::start().await;
    bench.disk("disk");
    let (image, volume) = (bench.image("disk", "raw").await, new_volume());
    let call = Call { key: key(volume), request: create(image) };
    assert_eq!(within(bench.pool.backend.clone().call(call.clone())).await, sized(1));
    let again = Call { key: key(volume), request: reimage(image) };
    assert_eq!(within(bench.pool.backend.clone().call(again.clone())).await, Outcome::done());
    let file = File::options().write(true).open(bench.pool.file(volume)).expect("there");
    file.write_all_at(b"written since", 0).expect("written");
    bench.gate.store.remove(ImageCaller::service(project()), image).await.expect("removed");
    bench.pool.restart().await;
    bench.use_images();
    // The image is gone: only the records of what was done can answer.
    assert_eq!(within(bench.pool.backend.clone().call(call)).await, sized(1));
    assert_eq!(within(bench.pool.backend.clone().call(again)).await, Outcome::done());
    assert!(bench.contents(volume).starts_with(b"written since"));
}

#[tokio::test]
async fn hostile_images_leave_no_volume_and_no_file() {
    let bench = Bench::start().await;
    bench.disk("disk");
    bench.qemu_img(&["create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "-u", "backed", "1M"]);
    bench.qemu_img(&["create", "-f", "qcow2", "bomb", "1T"]);
    bench.qemu_img(&["convert", "-f", "raw", "-O", "qcow2", "disk", "liar"]);
    fs::write(
        bench.path("foreign"),
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n\
         RW 2 FLAT \"/etc/passwd\" 0\n\nddb.adapterType = \"ide\"\n",
    )
    .expect("written");
    for (name, declared, words) in [
        ("backed", "qcow2", "backing file"),
        ("bomb", "qcow2", "are allowed"),
        ("liar", "raw", "declared as raw"),
        ("foreign", "vmdk", "descriptor"),
        ("disk", "ami", "ami"),
    ] {
        let (image, volume) = (bench.hostile(name, declared).await, new_volume());
        refused(&bench.call(volume, create(image)).await, words);
        assert!(!bench.pool.probe(volume).await.exists, "{name}");
        bench.assert_only(&[]);
    }
    // In the place of a volume's contents as well: these stay.
    let volume = bench.pool.create(1).await;
    let file = File::options().write(true).open(bench.pool.file(volume)).expect("there");
    file.write_all_at(b"precious", 0).expect("written");
    refused(&bench.call(volume, reimage(bench.hostile("backed", "qcow2").await)).await, "backing file");
    assert!(bench.contents(volume).starts_with(b"precious"));
    bench.assert_only(&[volume]);
}

#[tokio::test]
async fn a_missing_image_and_one_that_does_not_arrive_leave_nothing() {
    let bench = Bench::start().await;
    let (absent, volume) = (ImageId(Uuid::new_v4()), new_volume());
    refused(&bench.call(volume, create(absent)).await, "could not be found");
    bench.disk("disk");
    let image = bench.image("disk", "raw").await;
    File::options()
        .write(true)
        .open(find(&bench.path("images"), &image.to_string(), 24 * MIB))
        .expect("there")
        .set_len(MIB)
        .expect("cut");
    let outcome = bench.call(volume, create(image)).await;
    assert!(matches!(&outcome, Outcome::Failed { cause } if cause.kind == CauseKind::Image), "{outcome:?}");
    bench.assert_only(&[]);
}

#[tokio::test]
async fn reimage_replaces_everything_and_keeps_the_size() {
    let bench = Bench::start().await;
    let disk = bench.disk("disk");
    let image = bench.image("disk", "raw").await;
    let volume = bench.pool.create(1).await;
    let file = File::options().write(true).open(bench.pool.file(volume)).expect("there");
    file.write_all_at(&vec![0xee; 2 << 20], GIB - 2 * MIB).expect("written");
    let call = Call { key: key(volume), request: reimage(image) };
    assert_eq!(within(bench.pool.backend.clone().call(call.clone())).await, Outcome::done());
    let contents = bench.contents(volume);
    assert!(contents.len() as u64 == GIB && contents.starts_with(&disk));
    assert!(is_zero(&contents[disk.len()..]), "nothing of before");
    let file = File::options().write(true).open(bench.pool.file(volume)).expect("there");
    file.write_all_at(b"written since", 0).expect("written");
    assert_eq!(within(bench.pool.backend.clone().call(call)).await, Outcome::done());
    assert!(bench.contents(volume).starts_with(b"written since"));

    let (_export, info) = bench.pool.exported(volume).await;
    let outcome = bench.call(volume, reimage(image)).await;
    assert!(matches!(&outcome, Outcome::Refused { cause } if cause.kind == CauseKind::Busy), "{outcome:?}");
    let mut client = NbdClient::connect(&info, 0).await.expect("connected");
    assert!(client.write(0x11, MIB).await);
    assert!(matches!(bench.call(new_volume(), reimage(image)).await, Outcome::Refused { .. }));
}

#[tokio::test]
async fn what_is_cut_off_leaves_the_old_contents_or_none() {
    let bench = Bench::start().await;
    bench.disk("disk");
    let image = bench.image("disk", "raw").await;
    let volume = bench.pool.create(1).await;
    bench.gate.is_open.send_replace(false);
    for (id, request) in [(new_volume(), create(image)), (volume, reimage(image))] {
        let call = Call { key: key(id), request };
        let answer = tokio::spawn(bench.pool.backend.clone().call(call.clone()));
        until("it makes progress", || async {
            bench.pool.backend.progress(&call.key).is_some_and(|so_far| so_far.done > 1)
        })
        .await;
        assert!(bench.pool.probe(id).await.busy);
        bench.pool.backend.cut_off(&call.key);
        let outcome = within(answer).await.expect("it ends");
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
        // Nobody waits for it any more: the same.
        let mut dropped = bench.pool.backend.clone().call(Call { key: key(id), ..call });
        assert!(futures_util::poll!(&mut dropped).is_pending());
        drop(dropped);
        until("it has ended", || async { !bench.pool.probe(id).await.busy }).await;
        assert_eq!(temporaries(&bench.pool), 0);
    }
    bench.assert_only(&[volume]);
    assert!(is_zero(&bench.contents(volume)));
}

#[tokio::test]
async fn an_image_of_a_volume_has_its_bytes_in_the_format_that_was_asked_for() {
    let bench = Bench::start().await;
    let disk = bench.disk("disk");
    let source = bench.image("disk", "raw").await;
    let volume = new_volume();
    assert_eq!(bench.call(volume, create(source)).await, sized(1));
    // As `raw` it is hashed whole, which takes a test's build long: that is done once, below.
    for format in ["qcow2", "vmdk", "vdi", "vhd", "vhdx"] {
        let image = to_image(format);
        refused(&bench.call(volume, Request::UploadImage { image: image.clone() }).await, "could not be found");
        let create = Request::CreateImage { image: image.clone() };
        assert_eq!(bench.call(volume, create.clone()).await, Outcome::done());
        assert_eq!(bench.call(volume, create).await, Outcome::done(), "it is there already");
        let upload = Request::UploadImage { image: image.clone() };
        assert_eq!(bench.call(volume, upload.clone()).await, Outcome::done(), "{format}");
        let shown = bench.show(image.image_id).await.expect("there");
        assert_eq!((shown.status, shown.disk_format.as_deref()), (ImageStatus::Active, Some(format)));
        assert!(shown.virtual_size.is_some_and(|bytes| bytes >= GIB), "{format}: {:?}", shown.virtual_size);
        assert_eq!(bench.call(volume, upload).await, Outcome::done(), "it is whole already");
        bench.assert_only(&[volume]);
        fs::write(bench.path(format), bench.data(image.image_id).await).expect("written");
        let driver = if format == "vhd" { "vpc" } else { format };
        bench.qemu_img(&["convert", "-f", driver, "-O", "raw", format, "back"]);
        let mut back = vec![0; disk.len()];
        File::open(bench.path("back")).expect("there").read_exact(&mut back).expect("read");
        assert!(back == disk, "{format}");
        // A whole image is nobody's to remove.
        let discard = Request::DiscardImage { image_id: image.image_id, project_id: project() };
        assert_eq!(bench.call(volume, discard).await, Outcome::done());
        assert!(bench.show(image.image_id).await.is_some());
    }
    let ploop = to_image("ploop");
    assert_eq!(bench.call(volume, Request::CreateImage { image: ploop.clone() }).await, Outcome::done());
    assert!(matches!(bench.call(volume, Request::UploadImage { image: ploop }).await, Outcome::Refused { .. }));
}

#[tokio::test]
async fn a_header_that_a_guest_has_written_leads_nowhere() {
    let bench = Bench::start().await;
    bench.qemu_img(&["create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "-u", "header", "1M"]);
    let header = fs::read(bench.path("header")).expect("read");
    let volume = bench.pool.create(1).await;
    let file = File::options().write(true).open(bench.pool.file(volume)).expect("there");
    file.write_all_at(&header, 0).expect("written");
    // In another format: the header is data like any other.
    let image = to_image("qcow2");
    assert_eq!(bench.call(volume, Request::CreateImage { image: image.clone() }).await, Outcome::done());
    assert_eq!(bench.call(volume, Request::UploadImage { image: image.clone() }).await, Outcome::done());
    fs::write(bench.path("out"), bench.data(image.image_id).await).expect("written");
    bench.qemu_img(&["convert", "-f", "qcow2", "-O", "raw", "out", "back"]);
    assert!(fs::read(bench.path("back")).expect("read") == bench.contents(volume));
    let copy = new_volume();
    assert_eq!(bench.call(copy, create(image.image_id)).await, sized(1));
    assert!(bench.contents(copy) == bench.contents(volume));
    // As it is: the store takes no image for raw that others would take for something else.
    let image = to_image("raw");
    assert_eq!(bench.call(volume, Request::CreateImage { image: image.clone() }).await, Outcome::done());
    refused(&bench.call(volume, Request::UploadImage { image: image.clone() }).await, "declared as raw");
    let status = bench.show(image.image_id).await.expect("there").status;
    assert_eq!(status, ImageStatus::Queued);
}

#[tokio::test]
async fn an_image_of_a_volume_in_use_is_of_one_moment() {
    let bench = Bench::start().await;
    let volume = bench.pool.create(1).await;
    let (_export, info) = bench.pool.exported(volume).await;
    let mut client = NbdClient::connect(&info, 0).await.expect("connected");
    assert!(client.write(0x11, MIB).await && client.write(0x22, 5 * MIB).await);
    let image = to_image("qcow2");
    assert_eq!(bench.call(volume, Request::CreateImage { image: image.clone() }).await, Outcome::done());
    bench.gate.is_open.send_replace(false);
    let upload = Call { key: key(volume), request: Request::UploadImage { image: image.clone() } };
    let answer = tokio::spawn(bench.pool.backend.clone().call(upload.clone()));
    // The moment is over when the service is asked to take it: only then the polls count.
    let is_given = || async { bench.pool.backend.progress(&upload.key).is_some_and(|so_far| so_far.done == 1) };
    until("the moment is kept", is_given).await;
    assert!(client.write(0x33, MIB).await, "clients write on");
    bench.gate.is_open.send_replace(true);
    assert_eq!(within(answer).await.expect("it ends"), Outcome::done());
    fs::write(bench.path("out"), bench.data(image.image_id).await).expect("written");
    bench.qemu_img(&["convert", "-f", "qcow2", "-O", "raw", "out", "back"]);
    let data = fs::read(bench.path("back")).expect("read");
    assert_eq!((data.len() as u64, data[1 << 20], data[5 << 20]), (GIB, 0x11, 0x22));
    assert!(client.reads(0x33, MIB).await);
    bench.assert_only(&[volume]);
}

#[tokio::test]
async fn an_image_that_is_given_up_is_gone_and_does_not_come_back() {
    let mut bench = Bench::start().await;
    let volume = bench.pool.create(1).await;
    let image = to_image("raw");
    let (create, upload) = (
        Request::CreateImage { image: image.clone() },
        Call { key: key(volume), request: Request::UploadImage { image: image.clone() } },
    );
    assert_eq!(bench.call(volume, create.clone()).await, Outcome::done());
    bench.gate.is_open.send_replace(false);
    let answer = tokio::spawn(bench.pool.backend.clone().call(upload.clone()));
    until("it is under way", || async { bench.pool.backend.progress(&upload.key).is_some() }).await;
    let discard = Request::DiscardImage { image_id: image.image_id, project_id: project() };
    assert_eq!(bench.call(volume, discard.clone()).await, Outcome::done());
    assert!(matches!(within(answer).await.expect("it ends"), Outcome::Failed { .. } | Outcome::Refused { .. }));
    assert!(bench.show(image.image_id).await.is_none());
    refused(&bench.call(volume, create).await, "given up");
    refused(&within(bench.pool.backend.clone().call(upload)).await, "given up");
    assert_eq!(bench.call(volume, discard).await, Outcome::done());
    assert!(bench.show(image.image_id).await.is_none());
    // What a crash has left of a moment is removed at the next start.
    let left = bench.pool.options.path.join(format!("{volume}.image-{}.moment", image.image_id));
    fs::write(&left, b"what it held").expect("written");
    bench.pool.restart().await;
    bench.assert_only(&[volume]);
}

#[tokio::test]
async fn without_an_image_service_calls_about_images_are_refused() {
    let pool = Pool::start().await;
    let volume = pool.create(1).await;
    let id = ImageId(Uuid::new_v4());
    for request in [
        create(id),
        reimage(id),
        Request::CreateImage { image: to_image("raw") },
        Request::UploadImage { image: to_image("raw") },
        Request::DiscardImage { image_id: id, project_id: project() },
    ] {
        refused(&pool.call(volume, request).await, "no image service");
    }
}
