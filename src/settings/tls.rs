//! `tls` and `cors`: who may talk to the listener, and how.

use std::path::PathBuf;

use super::backend::absolute;
use super::reader::{Problem, Table};

/// `tls`: the listener's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate and those of the authorities between it and a root, PEM; absolute.
    pub certificate: PathBuf,
    /// Its key, PEM; absolute.
    pub key: PathBuf,
}

/// Reads the section; none: the listener speaks plain HTTP.
pub(super) fn parse(mut table: Table, problems: &mut Vec<Problem>) -> Option<TlsSettings> {
    let (key, origin) = (table.key("key"), table.origin_of("certificate"));
    let mut file = |name: &str| {
        let path = table.optional_text(problems, name).filter(|path| !path.is_empty());
        path.map(|path| absolute(PathBuf::from(path)))
    };
    let files = (file("certificate"), file("key"));
    table.finish(problems, &["certificate", "key"]);
    match files {
        (Some(certificate), Some(key)) => Some(TlsSettings { certificate, key }),
        (None, None) => None,
        _ => {
            problems.push(Problem { key, reason: "needs tls.certificate, and the other way round".to_owned(), origin });
            None
        }
    }
}

/// Reads `cors.allowed_origins`: the origins whose pages may use the API in a browser.
pub(super) fn parse_cors(mut table: Table, problems: &mut Vec<Problem>) -> Vec<String> {
    let (key, origin) = (table.key("allowed_origins"), table.origin_of("allowed_origins"));
    let origins = table.texts(problems, "allowed_origins", Vec::new());
    table.finish(problems, &["allowed_origins"]);
    let is_origin = |text: &String| {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    };
    if let Some(other) = origins.iter().find(|text| !is_origin(text)) {
        let reason = format!("{other:?} is no origin such as https://dashboard.example.org");
        problems.push(Problem { key, reason, origin });
    }
    origins
}
