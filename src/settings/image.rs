//! `image`: which image service there is, and how its images are converted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::backend::absolute;
use super::parse::{endpoint, one_of};
use super::reader::{Problem, Table};

/// `image`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSettings {
    /// Where images are.
    pub service: ImageServiceSettings,
    /// The program that converts disk formats.
    pub qemu_img: PathBuf,
    /// How long one conversion may take.
    pub convert_timeout: Duration,
    /// A volume in use may be made an image of, if its client insists (`enable_force_upload` of Cinder).
    pub force_upload: bool,
}

/// `image.service` and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageServiceSettings {
    /// Hearth keeps images itself, and serves them under `/image`.
    Embedded(ImageStoreSettings),
    /// A Glance.
    Glance(GlanceSettings),
    /// There are no images.
    None,
}

/// Options of `embedded`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageStoreSettings {
    /// The directory, made with mode 0700; absolute.
    pub path: PathBuf,
    /// GiB of one image's data.
    pub max_size_gib: u64,
    /// Images, of all projects.
    pub max_images: usize,
    /// GiB of the file system that stay free.
    pub reserved_gib: u64,
}

/// Options of `glance`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlanceSettings {
    /// Its address, without a version: `https://image.example.org` or `http://10.0.0.2:9292`.
    pub endpoint: String,
    /// PEM certificates of the authorities that its certificate may be from; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The token is in this file, which is read again when it changes; none: Glance is asked without one.
    pub token_file: Option<PathBuf>,
    /// A call without any progress for so long has failed.
    pub timeout: Duration,
}

const COMMON: [&str; 4] = ["service", "qemu_img", "convert_timeout", "force_upload"];
const EMBEDDED_OPTIONS: [&str; 4] = ["path", "max_size_gib", "max_images", "reserved_gib"];
const GLANCE_OPTIONS: [&str; 4] = ["endpoint", "ca_file", "token_file", "timeout"];

/// Reads the section.
pub(super) fn parse(mut table: Table, state_path: &Path, problems: &mut Vec<Problem>) -> ImageSettings {
    let chosen_at = table.origin_of("service");
    let service_word =
        table.take(problems, "service", "embedded", |value| one_of(value, &["embedded", "glance", "none"]));
    let qemu_img = PathBuf::from(table.text(problems, "qemu_img", "qemu-img"));
    // a plain name is looked for on the PATH
    let qemu_img = if qemu_img.components().count() > 1 { absolute(qemu_img) } else { qemu_img };
    let convert_timeout = table.duration(problems, "convert_timeout", Duration::from_secs(3600), false);
    let force_upload = table.flag(problems, "force_upload", false);
    let (service, options) = match service_word {
        "glance" => (ImageServiceSettings::Glance(glance(&mut table, chosen_at, problems)), &GLANCE_OPTIONS[..]),
        "none" => (ImageServiceSettings::None, &[][..]),
        _ => (ImageServiceSettings::Embedded(embedded(&mut table, state_path, problems)), &EMBEDDED_OPTIONS[..]),
    };
    let known: Vec<&str> = COMMON.iter().chain(options).copied().collect();
    table.finish(problems, &known);
    ImageSettings { service, qemu_img, convert_timeout, force_upload }
}

fn embedded(table: &mut Table, state_path: &Path, problems: &mut Vec<Problem>) -> ImageStoreSettings {
    let path = table.optional_text(problems, "path").filter(|path| !path.is_empty());
    ImageStoreSettings {
        path: absolute(path.map_or_else(|| state_path.join("images"), PathBuf::from)),
        max_size_gib: table.number(problems, "max_size_gib", 1024, 1..=1_048_576),
        max_images: table.number(problems, "max_images", 10_000, 1..=1_000_000),
        reserved_gib: table.number(problems, "reserved_gib", 1, 0..=1_048_576),
    }
}

fn glance(table: &mut Table, chosen_at: Option<String>, problems: &mut Vec<Problem>) -> GlanceSettings {
    let key = table.key("endpoint");
    let told = problems.len();
    let endpoint = table.take(problems, "endpoint", String::new(), |value| endpoint(value, &["/v2"]));
    if endpoint.is_empty() && problems.len() == told {
        problems.push(Problem {
            key,
            reason: "must be the address of the image service".to_owned(),
            origin: chosen_at,
        });
    }
    let mut file = |name: &str| {
        let path = table.optional_text(problems, name).filter(|path| !path.is_empty());
        path.map(|path| absolute(PathBuf::from(path)))
    };
    let (ca_file, token_file) = (file("ca_file"), file("token_file"));
    let timeout = table.duration(problems, "timeout", Duration::from_secs(60), false);
    GlanceSettings { endpoint, ca_file, token_file, timeout }
}
