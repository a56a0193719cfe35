//! The image service as volumes need it: one interface, the embedded store and a client of Glance behind it, and the
//! conversion of disk formats.
//!
//! Images are strangers' bytes. Nothing here trusts a format that was declared, follows a name that an image contains or
//! asks an address that is not in the settings; `qemu-img` runs only as a confined child on files that have passed
//! [`convert::inspect`]. It never looks at a volume and never answers HTTP. Used by the actors and drivers that fill volumes
//! and save them, and by the API, which serves the embedded store.

pub mod convert;
pub mod directory;
pub mod image;
pub mod service;

pub use convert::{ConvertError, Converter, DiskFormat, Inspected, Rejected};
pub use directory::{DirectoryStore, StoreLimits, Upload};
pub use image::{Image, ImageCaller, ImageStatus, NewImage, Visibility, image_id_of};
pub use service::{ImageError, ImageService};
