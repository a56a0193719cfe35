//! From a path to what it names.

use crate::api::percent;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `/image`: which versions there are.
    Root,
    /// `/image/versions`.
    Versions,
    /// `/image/v2`.
    Version,
    /// `/image/v2/images`.
    Images,
    /// `/image/v2/images/{id}`.
    Image(String),
    /// `/image/v2/images/{id}/file`.
    File(String),
    /// `/image/v2/images/{id}/actions/deactivate`.
    Deactivate(String),
    /// `/image/v2/images/{id}/actions/reactivate`.
    Reactivate(String),
    /// `/image/v2/images/{id}/tags/{tag}`.
    Tag(String, String),
    /// `/image/v2/schemas/{name}`.
    Schema(String),
}

impl Resource {
    /// The path without what a client chose.
    pub(super) const fn template(&self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Versions => "/versions",
            Self::Version => "/v2",
            Self::Images => "/v2/images",
            Self::Image(_) => "/v2/images/{image_id}",
            Self::File(_) => "/v2/images/{image_id}/file",
            Self::Deactivate(_) => "/v2/images/{image_id}/actions/deactivate",
            Self::Reactivate(_) => "/v2/images/{image_id}/actions/reactivate",
            Self::Tag(..) => "/v2/images/{image_id}/tags/{tag}",
            Self::Schema(_) => "/v2/schemas/{schema}",
        }
    }
}

/// Whether a path is of this API.
pub fn serves(path: &str) -> bool {
    below(path).is_some()
}

fn below(path: &str) -> Option<&str> {
    path.strip_prefix("/image").filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a path below `/image` names; none: nothing.
pub(super) fn resource(path: &str) -> Option<Resource> {
    let rest = below(path)?;
    let segments: Vec<String> = rest.split('/').skip(1).map(percent::decode_segment).collect::<Option<_>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    // a slash at the end says nothing of a version, and below it names an image without an id, as in Glance
    let segments = match segments.as_slice() {
        [rest @ .., ""] if rest.len() < 2 => rest,
        all => all,
    };
    let id = |text: &&str| (!text.is_empty()).then(|| (*text).to_owned());
    Some(match segments {
        [] => Resource::Root,
        ["versions"] => Resource::Versions,
        ["v2"] => Resource::Version,
        ["v2", "images"] => Resource::Images,
        ["v2", "images", image] => Resource::Image(id(image)?),
        ["v2", "images", image, "file"] => Resource::File(id(image)?),
        ["v2", "images", image, "actions", "deactivate"] => Resource::Deactivate(id(image)?),
        ["v2", "images", image, "actions", "reactivate"] => Resource::Reactivate(id(image)?),
        ["v2", "images", image, "tags", tag] => Resource::Tag(id(image)?, id(tag)?),
        ["v2", "schemas", name] => Resource::Schema(id(name)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_resources() {
        let x = || "x".to_owned();
        for (path, expected) in [
            ("/image", Some(Resource::Root)),
            ("/image/", Some(Resource::Root)),
            ("/image/versions", Some(Resource::Versions)),
            ("/image/v2/", Some(Resource::Version)),
            ("/image/v2/images", Some(Resource::Images)),
            ("/image/v2/images/", None),
            ("/image/v2/images/x/", None),
            ("/image/v2/images/x", Some(Resource::Image(x()))),
            ("/image/v2/images/x/file", Some(Resource::File(x()))),
            ("/image/v2/images/x/actions/reactivate", Some(Resource::Reactivate(x()))),
            ("/image/v2/images/x/actions/delete", None),
            ("/image/v2/images/x/tags/a%2Fb", Some(Resource::Tag(x(), "a/b".to_owned()))),
            ("/image/v2/schemas/image", Some(Resource::Schema("image".to_owned()))),
            ("/image/v2/images//file", None),
            ("/image/v2/images/x/%ff", None),
            ("/image/v1/images", None),
            ("/images", None),
        ] {
            assert_eq!(resource(path), expected, "{path}");
        }
    }
}
