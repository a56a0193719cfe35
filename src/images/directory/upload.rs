//! Data on its way into the store: written and hashed as it comes, never whole in memory.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use md5::Md5;
use sha2::{Digest as _, Sha512};

use super::files::Part;
use super::{Store, no_room};
use crate::domain::ids::ImageId;
use crate::images::convert::{self, DiskFormat};
use crate::images::image::Image;
use crate::images::service::ImageError;

/// After so many bytes the room is looked at again.
const ROOM_LOOK_BYTES: u64 = 64 << 20;
/// Bytes read at once from a file.
const PIECE_BYTES: usize = 1 << 20;

/// One upload. Dropped before [`Self::finish`] has succeeded, the image is queued as before and nothing is kept.
pub struct Upload {
    store: Arc<Store>,
    id: ImageId,
    number: u64,
    /// None once it has its name.
    part: Option<Part>,
    disk_format: Option<DiskFormat>,
    /// What the client says that will come.
    declared: Option<u64>,
    written: u64,
    room_known_until: u64,
    md5: Md5,
    sha512: Sha512,
}

impl Upload {
    pub(super) fn new(
        store: Arc<Store>,
        image: &Image,
        number: u64,
        part: Part,
        declared: Option<u64>,
    ) -> Result<Self, ImageError> {
        let bare = image.container_format.as_deref() == Some("bare");
        let disk_format = image.disk_format.as_deref().filter(|_| bare).and_then(DiskFormat::parse);
        let mut upload = Self {
            store,
            id: image.id,
            number,
            part: Some(part),
            disk_format,
            declared,
            written: 0,
            room_known_until: 0,
            md5: Md5::new(),
            sha512: Sha512::new(),
        };
        upload.make_room(declared.unwrap_or(0))?;
        Ok(upload)
    }

    /// Takes the next piece.
    pub async fn write(mut self, piece: Bytes) -> Result<Self, ImageError> {
        super::blocking(move || {
            self.append(&piece)?;
            Ok(self)
        })
        .await
    }

    /// The data is whole: checks and names it, and makes the image active.
    pub async fn finish(self) -> Result<Arc<Image>, ImageError> {
        super::blocking(move || self.complete()).await
    }

    /// All of a file.
    pub(super) fn take(mut self, mut from: File) -> Result<Arc<Image>, ImageError> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match from.read(&mut piece).map_err(|error| unreadable(&error))? {
                0 => return self.complete(),
                length => self.append(&piece[..length])?,
            }
        }
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), ImageError> {
        self.make_room(piece.len() as u64)?;
        let part = self.part.as_mut().expect("it is written before it is named");
        part.file.write_all(piece).map_err(|error| no_room(&error))?;
        self.written += piece.len() as u64;
        self.md5.update(piece);
        self.sha512.update(piece);
        Ok(())
    }

    /// Refuses what is too long, or would not leave the room that must stay free.
    fn make_room(&mut self, more: u64) -> Result<(), ImageError> {
        let limits = &self.store.limits;
        let until = self.written.saturating_add(more);
        if until > limits.image_bytes_max {
            return Err(ImageError::TooLarge { bytes_max: limits.image_bytes_max });
        }
        if until > self.room_known_until {
            let ahead = more.max(ROOM_LOOK_BYTES);
            let free = self.store.files.free_bytes().map_err(|error| no_room(&error))?;
            if free.saturating_sub(limits.free_bytes_min) < more {
                return Err(ImageError::NoSpace);
            }
            self.room_known_until = self.written.saturating_add(ahead);
        }
        Ok(())
    }

    fn complete(mut self) -> Result<Arc<Image>, ImageError> {
        if self.declared.is_some_and(|declared| declared != self.written) {
            return Err(ImageError::Corrupt);
        }
        let part = self.part.take().expect("it is completed once");
        part.file.sync_all().map_err(|error| no_room(&error))?;
        let virtual_size = match self.disk_format {
            Some(format) => {
                let found = convert::inspect(&part.file, format).map_err(|why| ImageError::Invalid(why.to_string()))?;
                Some(found.virtual_size)
            }
            None => None,
        };
        let (md5, sha512) = (std::mem::take(&mut self.md5), std::mem::take(&mut self.sha512));
        let (checksum, os_hash) = (hex(&md5.finalize()), hex(&sha512.finalize()));
        let size = self.written;
        self.store.activate(self.id, self.number, part, |image| {
            image.size = Some(size);
            image.virtual_size = virtual_size;
            image.checksum = Some(checksum);
            image.os_hash_algo = Some("sha512".to_owned());
            image.os_hash_value = Some(os_hash);
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.store.upload_ended(self.id, self.number);
    }
}

fn unreadable(error: &std::io::Error) -> ImageError {
    tracing::error!(%error, "what is to be uploaded cannot be read");
    ImageError::Unavailable
}

pub(in crate::images) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
