//! A Glance that works: the embedded service.

use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use hearth::domain::ids::ImageId;
use hearth::images::{
    GlanceClient, ImageCaller, ImageError, ImageService, ImageStatus, NewImage, TokenFile, Visibility,
};
use tempfile::TempDir;

use super::stand_in::{client, member};
use crate::api::harness::ADMIN;
use crate::api::images::Bench;

struct Both {
    bench: Bench,
    client: Arc<GlanceClient>,
    home: TempDir,
}

impl Both {
    async fn start() -> Self {
        let (bench, home) = (Bench::start().await, TempDir::new().unwrap());
        let token = home.path().join("token");
        std::fs::write(&token, format!("{ADMIN}\n")).unwrap();
        let client = client(&format!("http://{}/image", bench.harness.address), None, Arc::new(TokenFile(token)));
        Self { bench, client, home }
    }

    fn file(&self, data: &[u8]) -> std::fs::File {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.read(true).write(true).custom_flags(libc::O_TMPFILE).open(self.home.path()).unwrap();
        file.write_all(data).unwrap();
        file.rewind().unwrap();
        file
    }

    async fn made(&self, caller: &ImageCaller, new: NewImage) -> ImageId {
        let formats = (Some("raw".to_owned()), Some("bare".to_owned()));
        let new = NewImage { disk_format: formats.0, container_format: formats.1, ..new };
        self.client.clone().create(caller.clone(), new).await.unwrap().id
    }

    async fn fetched(&self, caller: &ImageCaller, id: ImageId, bytes_max: u64) -> Result<Vec<u8>, ImageError> {
        let scratch = self.home.path().to_owned();
        let mut file = self.client.clone().fetch(caller.clone(), id, scratch, bytes_max).await?;
        let mut data = Vec::new();
        file.read_to_end(&mut data).unwrap();
        Ok(data)
    }
}

#[actix_web::test]
async fn an_image_goes_up_and_comes_down() {
    let both = Both::start().await;
    let (caller, client) = (member("q"), both.client.clone());
    let data: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 253) as u8).collect();
    let new = NewImage {
        name: Some("n".to_owned()),
        min_disk: 3,
        tags: vec!["t".to_owned()],
        properties: [("os_type".to_owned(), "linux".to_owned())].into(),
        ..NewImage::default()
    };
    let id = both.made(&caller, new).await;
    let image = client.clone().show(caller.clone(), id).await.unwrap();
    let found = (image.owner.as_ref().map(|owner| owner.as_str()), image.min_disk, &*image.tags, image.status);
    assert_eq!(found, (Some("q"), 3, &["t".to_owned()][..], ImageStatus::Queued));
    assert_eq!(image.properties, [("os_type".to_owned(), "linux".to_owned())].into());
    let early = both.fetched(&caller, id, u64::MAX).await;
    assert!(matches!(early, Err(ImageError::Conflict(_))), "{early:?}");

    let image = client.clone().upload(caller.clone(), id, both.file(&data)).await.unwrap();
    assert_eq!((image.status, image.size, image.virtual_size), (ImageStatus::Active, Some(3_000_000), Some(3_000_000)));
    assert!(both.fetched(&caller, id, 3_000_000).await.unwrap() == data);
    assert_eq!(both.fetched(&caller, id, 2_999_999).await, Err(ImageError::TooLarge { bytes_max: 2_999_999 }));
    let again = client.clone().upload(caller.clone(), id, both.file(b"other")).await;
    assert!(matches!(again, Err(ImageError::Conflict(_))), "{again:?}");
    let names: Vec<_> = std::fs::read_dir(both.home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["token"], "nothing stays");

    let bad = both.made(&caller, NewImage::default()).await;
    let refused = client.clone().upload(caller.clone(), bad, both.file(b"QFI\xfb")).await;
    assert!(matches!(refused, Err(ImageError::Invalid(_))), "{refused:?}");
    client.clone().delete(caller.clone(), id).await.unwrap();
    assert_eq!(client.clone().delete(caller.clone(), id).await, Err(ImageError::NotFound(id)));
    assert_eq!(client.show(caller, id).await.map(|_| ()), Err(ImageError::NotFound(id)));
    both.bench.harness.stop().await;
}

/// Glance shows everything to the service's token: what a caller sees is judged by the client.
#[actix_web::test]
async fn callers_see_what_is_theirs() {
    let both = Both::start().await;
    let (owner, stranger) = (member("q"), member("r"));
    let admin = ImageCaller::service("q".into());
    for (visibility, is_seen, is_named) in [
        (Visibility::Private, false, false),
        (Visibility::Shared, false, false),
        (Visibility::Community, true, false),
        (Visibility::Public, true, true),
    ] {
        let name = visibility.as_str().to_owned();
        let new = NewImage { name: Some(name.clone()), visibility, protected: true, ..NewImage::default() };
        let id = both.made(&admin, new).await;
        for (caller, is_seen, is_named) in [(&owner, true, true), (&stranger, is_seen, is_named)] {
            let shown = both.client.clone().show(caller.clone(), id).await;
            assert_eq!(shown.is_ok(), is_seen, "{visibility:?} {caller:?}: {shown:?}");
            let named = both.client.clone().named(caller.clone(), name.clone()).await.unwrap();
            assert_eq!(named.len(), usize::from(is_named), "{visibility:?} {caller:?}");
        }
        let refused = both.client.clone().delete(stranger.clone(), id).await;
        let expected_none = matches!(refused, Err(ImageError::NotFound(_)));
        assert_eq!((refused.is_err(), expected_none), (true, !is_seen), "{visibility:?}: {refused:?}");
        let protected = both.client.clone().delete(owner.clone(), id).await;
        assert!(matches!(protected, Err(ImageError::Forbidden(_))), "{protected:?}");
    }
    for new in [
        NewImage { visibility: Visibility::Public, ..NewImage::default() },
        NewImage { owner: Some("r".into()), ..NewImage::default() },
    ] {
        let refused = both.client.clone().create(owner.clone(), new).await;
        assert!(matches!(refused, Err(ImageError::Forbidden(_))), "{refused:?}");
    }
    for _ in 0..3 {
        both.made(&owner, NewImage { name: Some("many".to_owned()), ..NewImage::default() }).await;
    }
    assert!(both.client.clone().named(owner.clone(), "many".to_owned()).await.unwrap().len() >= 2);
    assert_eq!(both.client.clone().named(owner, "none&owner=q".to_owned()).await.unwrap(), []);
    both.bench.harness.stop().await;
}
