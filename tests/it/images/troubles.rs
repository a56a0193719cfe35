//! A Glance that fails, lies, hangs, or leads elsewhere.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use hearth::domain::ids::ImageId;
use hearth::images::{Image, ImageError, ImageService, NewImage, NoToken, TokenFile};
use serde_json::json;
use sha2::{Digest as _, Sha512};
use tempfile::TempDir;
use uuid::Uuid;

use super::stand_in::{StandIn, Step, client, image, member, serve_tls};

const ID: ImageId = ImageId(Uuid::from_u128(0x1234_5678_0000_4000_8000_0000_0000_0001));

fn shown() -> Step {
    Step::json(200, &image(ID, &json!({})))
}

async fn show(glance: &StandIn) -> Result<Image, ImageError> {
    glance.client().show(member("p"), ID).await
}

async fn fetch(glance: &StandIn, bytes_max: u64) -> Result<Vec<u8>, ImageError> {
    let scratch = TempDir::new().unwrap();
    let file = glance.client().fetch(member("p"), ID, scratch.path().to_owned(), bytes_max).await;
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    file.map(|mut file| {
        let mut data = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut data).unwrap();
        data
    })
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_nothing_else() {
    let fails = |status: u16| Step::Reply(status, Vec::new());
    let glance = StandIn::start(vec![fails(500), Step::Close, fails(503), shown()]).await;
    let image = show(&glance).await.unwrap();
    assert_eq!((image.id, glance.lines().len()), (ID, 4));
    assert_eq!(image.properties, [("os_type".to_owned(), "linux".to_owned())].into());
    let glance = StandIn::start(vec![fails(500), fails(502), fails(429), fails(500), shown()]).await;
    assert_eq!((show(&glance).await, glance.lines().len()), (Err(ImageError::Unavailable), 4), "it gives up");
    for (step, expected) in [
        (fails(404), ImageError::NotFound(ID)),
        (fails(401), ImageError::Unavailable),
        (fails(418), ImageError::Unavailable),
        (Step::Reply(200, b"{".to_vec()), ImageError::Unavailable),
        (Step::Reply(200, b"{}".to_vec()), ImageError::Unavailable),
        (Step::Reply(200, vec![b' '; 5 << 20]), ImageError::Unavailable),
        (Step::json(200, &image_of(ImageId(Uuid::nil()))), ImageError::Unavailable),
    ] {
        let glance = StandIn::start(vec![step, shown()]).await;
        assert_eq!((show(&glance).await, glance.lines().len()), (Err(expected), 1));
    }
}

fn image_of(id: ImageId) -> serde_json::Value {
    image(id, &json!({}))
}

#[tokio::test]
async fn nobody_else_is_ever_asked() {
    let elsewhere = StandIn::start(vec![shown()]).await;
    for status in [301, 302, 307, 308] {
        let location = format!("Location: http://{}/v2/images/{ID}\r\n", elsewhere.address);
        let glance = StandIn::start(vec![Step::Headed(status, location)]).await;
        assert_eq!(show(&glance).await, Err(ImageError::Unavailable), "{status}");
    }
    // nor what an image says of itself
    let url = format!("http://{}/", elsewhere.address);
    let lure = image(ID, &json!({"file": url, "direct_url": url, "locations": [{"url": url}], "self": url}));
    let glance = StandIn::start(vec![Step::json(200, &lure), Step::Reply(200, b"data".to_vec())]).await;
    assert_eq!(fetch(&glance, 4).await.unwrap(), b"data");
    assert_eq!(glance.lines(), [format!("GET /v2/images/{ID}"), format!("GET /v2/images/{ID}/file")]);
    // nor the next page
    let page = json!({"images": vec![image(ID, &json!({"name": "other"})); 100], "next": url});
    let last = json!({"images": []});
    let pages = [&page, &last, &last].map(|page| Step::json(200, page));
    let glance = StandIn::start(pages.into()).await;
    assert_eq!(glance.client().named(member("p"), "a&b/../c".to_owned()).await, Ok(Vec::new()));
    let first = "GET /v2/images?limit=100&name=a%26b%2F%2E%2E%2Fc";
    let own = format!("{first}&visibility=community&owner=p");
    assert_eq!(glance.lines(), [first.to_owned(), format!("{first}&marker={ID}"), own]);
    assert_eq!(elsewhere.lines(), [""; 0]);
}

#[tokio::test]
async fn silence_ends_a_call() {
    let glance = StandIn::start(vec![Step::Hang, Step::Hang, Step::Hang, Step::Hang]).await;
    assert_eq!(show(&glance).await, Err(ImageError::Unavailable));
    let glance = StandIn::start(vec![shown(), Step::Hang, Step::Reply(200, b"data".to_vec())]).await;
    assert_eq!(fetch(&glance, 4).await.unwrap(), b"data");
}

#[tokio::test]
async fn data_is_taken_whole_or_not_at_all() {
    let hash: String = Sha512::digest(b"data").iter().map(|byte| format!("{byte:02x}")).collect();
    let hashed = || Step::json(200, &image(ID, &json!({"os_hash_algo": "sha512", "os_hash_value": hash})));
    let good = || Step::Reply(200, b"data".to_vec());
    let bad = || Step::Reply(200, b"dada".to_vec());
    let short = || Step::Short(4, b"da".to_vec());
    for (script, expected) in [
        (vec![hashed(), good()], Ok(2)),
        (vec![hashed(), short(), bad(), Step::Reply(200, b"dat".to_vec()), good()], Ok(5)),
        (vec![hashed(), bad(), bad(), bad(), bad(), good()], Err(ImageError::Corrupt)),
        (vec![hashed(), short(), short(), short(), short(), good()], Err(ImageError::Corrupt)),
        (vec![hashed(), Step::Reply(200, b"data and more".to_vec())], Err(ImageError::TooLarge { bytes_max: 4 })),
        (vec![hashed(), Step::Reply(404, Vec::new())], Err(ImageError::NotFound(ID))),
    ] {
        let glance = StandIn::start(script).await;
        let fetched = fetch(&glance, 100).await;
        match expected {
            Ok(calls) => assert_eq!((fetched.as_deref(), glance.lines().len()), (Ok(&b"data"[..]), calls)),
            Err(error) => assert_eq!(fetched, Err(error)),
        }
    }
    let glance = StandIn::start(vec![hashed()]).await;
    assert_eq!(fetch(&glance, 3).await, Err(ImageError::TooLarge { bytes_max: 3 }));
    assert_eq!(glance.lines().len(), 1, "the data is not asked for");
}

#[tokio::test]
async fn a_repeated_call_knows_what_an_earlier_one_may_have_done() {
    let queued = || Step::json(200, &image(ID, &json!({"status": "queued"})));
    let taken = || Step::json(200, &image(ID, &json!({"status": "queued", "owner": "somebody"})));
    let refused = |status: u16| Step::Reply(status, Vec::new());
    let create = async |script: Vec<Step>| {
        let glance = StandIn::start(script).await;
        let new = NewImage { id: Some(ID), ..NewImage::default() };
        glance.client().create(member("p"), new).await.map(|image| image.id)
    };
    assert_eq!(create(vec![Step::Close, refused(409), queued()]).await, Ok(ID));
    let conflicts = [vec![Step::Close, refused(409), taken()], vec![refused(409)]];
    for script in conflicts {
        let made = create(script).await;
        assert!(matches!(made, Err(ImageError::Conflict(_))), "{made:?}");
    }
    let delete = async |script: Vec<Step>| {
        let glance = StandIn::start(script).await;
        glance.client().delete(member("p"), ID).await
    };
    assert_eq!(delete(vec![shown(), Step::Close, refused(404)]).await, Ok(()));
    assert_eq!(delete(vec![shown(), refused(404)]).await, Err(ImageError::NotFound(ID)));
}

#[tokio::test]
async fn an_upload_is_done_when_glance_says_so() {
    let data = vec![7; 3 << 20];
    let hash: String = Sha512::digest(&data).iter().map(|byte| format!("{byte:02x}")).collect();
    let of = |status: &str, size: usize, hash: &str| {
        let more = json!({"status": status, "size": size, "os_hash_algo": "sha512", "os_hash_value": hash});
        Step::json(200, &image(ID, &more))
    };
    let done = || of("active", data.len(), &hash);
    let queued = || Step::json(200, &image(ID, &json!({"status": "queued", "size": null})));
    let upload = async |script: Vec<Step>| {
        let glance = StandIn::start(script).await;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&data).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        let uploaded = glance.client().upload(member("p"), ID, file).await.map(|_| ());
        (uploaded, glance.seen())
    };
    let accepted = || Step::Reply(204, Vec::new());
    let (uploaded, seen) = upload(vec![queued(), accepted(), done()]).await;
    assert_eq!(
        (uploaded, seen[1].body.len(), seen[1].line.clone()),
        (Ok(()), data.len(), format!("PUT /v2/images/{ID}/file"))
    );
    assert!(seen[1].body == data);
    // the answer is lost
    assert_eq!(upload(vec![queued(), Step::Close, done()]).await.0, Ok(()));
    assert_eq!(upload(vec![queued(), Step::Close, queued()]).await.0, Err(ImageError::Unavailable));
    assert_eq!(upload(vec![queued(), Step::CloseEarly, queued()]).await.0, Err(ImageError::Unavailable));
    assert_eq!(upload(vec![queued(), Step::Hang, queued()]).await.0, Err(ImageError::Unavailable));
    // less or something else has arrived
    for other in [of("active", data.len() - 1, &hash), of("active", data.len(), "00"), of("saving", data.len(), &hash)]
    {
        assert_eq!(upload(vec![queued(), accepted(), other]).await.0, Err(ImageError::Corrupt));
    }
    let (refused, seen) = upload(vec![queued(), Step::Reply(413, Vec::new()), done()]).await;
    assert!(matches!(refused, Err(ImageError::OverLimit(_))), "{refused:?}");
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_token_that_was_renewed_is_used_at_once() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("token");
    std::fs::write(&path, "old\n").unwrap();
    let renewed = path.clone();
    let renew = Step::Do(Box::new(move || std::fs::write(&renewed, "new\n").unwrap()), 401);
    let glance = StandIn::start(vec![renew, shown(), Step::Reply(401, Vec::new()), shown()]).await;
    let client = glance.client_with(Arc::new(TokenFile(path.clone())));
    client.clone().show(member("p"), ID).await.unwrap();
    assert_eq!(client.clone().show(member("p"), ID).await, Err(ImageError::Unavailable), "there is no better one");
    let tokens: Vec<_> = glance.seen().into_iter().map(|request| request.token).collect();
    assert_eq!(tokens, ["old", "new", "new"].map(|token| Some(token.to_owned())));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(client.clone().show(member("p"), ID).await, Err(ImageError::Unavailable));
    File::create(&path).unwrap().set_len(1 << 20).unwrap();
    assert_eq!(client.show(member("p"), ID).await, Err(ImageError::Unavailable), "that is no token");
    assert_eq!(glance.lines().len(), 3);
}

#[tokio::test]
async fn images_are_seen_by_the_projects_that_they_are_shared_with() {
    let shared = || Step::json(200, &image(ID, &json!({"visibility": "shared"})));
    let member_of = |status: &str| Step::json(200, &json!({"member_id": "q/r", "status": status}));
    for (step, is_seen) in [
        (member_of("accepted"), true),
        (member_of("pending"), true),
        (member_of("rejected"), false),
        (Step::Reply(404, vec![]), false),
    ] {
        let glance = StandIn::start(vec![shared(), step]).await;
        assert_eq!(glance.client().show(member("q/r"), ID).await.is_ok(), is_seen);
        assert_eq!(glance.lines()[1], format!("GET /v2/images/{ID}/members/q%2Fr"));
    }
}

#[tokio::test]
async fn its_certificate_must_be_from_an_authority_of_the_settings() {
    let port = serve_tls(|_| (200, "", image(ID, &json!({})).to_string()));
    let authority = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/images/tls/ca.pem");
    let endpoint = format!("https://localhost:{port}");
    let trusted = client(&endpoint, Some(&authority), Arc::new(NoToken));
    assert_eq!(trusted.show(member("p"), ID).await.map(|image| image.id), Ok(ID));
    let other = authority.with_file_name("server.pem");
    let strict = client(&endpoint, Some(&other), Arc::new(NoToken));
    assert_eq!(strict.show(member("p"), ID).await, Err(ImageError::Unavailable));
}
